from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RECIPE = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "intermediate_size": 48, "vocab_size": 400}
TASK = {"type": "classification", "labels": ["sport", "politics", "very sport"]}
WORDS = {"sport": ["goal", "match", "team", "score"], "politics": ["vote", "minister", "bill", "party"]}


def toy_rows(count: int, *, teacher: bool = True, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Topics that a few words give away; labels of several tokens, one of them the end of another."""
    draw = random.Random(seed)
    for number in range(count):
        label = draw.choice(sorted(WORDS))
        text = " ".join(draw.choices(WORDS[label], k=draw.randint(2, 9)))
        other = "politics" if label == "sport" else "sport"
        row: dict[str, Any] = {
            "id": f"row{number}",
            "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": label}],
            "reference": label,
        }
        if teacher:
            row["label_logprobs"] = {label: -0.10536, other: -2.99573, "very sport": -2.99573}
        yield row


def write(folder: Path, **splits: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


Arguments = Callable[..., list[str]]


@pytest.fixture
def arguments(tmp_path: Path) -> Arguments:
    """The component's command line for a tiny student, on 24 toy rows unless `data` says otherwise."""

    def make(data: Path | None = None, **changed: Any) -> list[str]:
        given: dict[str, Any] = {
            "data": data or write(tmp_path / "data", train=toy_rows(24), validation=toy_rows(8, seed=1)),
            "recipe": json.dumps(RECIPE),
            "task": json.dumps(TASK),
            "hyperparameters": json.dumps({"num_epochs": 2, "batch_size": 8, "learning_rate": 0.01}),
            "distillation": json.dumps({"method": "response"}),
            "model": tmp_path / "model",
        }
        given |= {k: json.dumps(v) if isinstance(v, dict) else v for k, v in changed.items()}
        return [
            part
            for name, value in given.items()
            if value is not None
            for part in (f"--{name.replace('_', '-')}", str(value))
        ]

    return make


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small "pretrained" weights, with layers enough to freeze some."""
    from shared.scratch import Recipe, initial_model, make_config, train_tokenizer

    folder = tmp_path_factory.mktemp("pretrained")
    texts = [message["content"] for row in toy_rows(40) for message in row["messages"]]
    tokenizer = train_tokenizer(texts, 400)
    recipe = Recipe(hidden_size=32, num_layers=3, num_heads=2, intermediate_size=48, vocab_size=400)
    initial_model(make_config(recipe, tokenizer), 7).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def toy() -> Callable[..., Iterator[dict[str, Any]]]:
    return toy_rows


@pytest.fixture
def write_split() -> Callable[..., Path]:
    return write
