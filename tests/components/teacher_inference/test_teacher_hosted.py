"""A teacher whose weights are at hand: tiny random ones, and once the real SmolLM2."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from smollm2 import SMOLLM2
from teacher_bench import CHAT, Bench

from shared.chat import answer_ids, prompt_ids
from shared.errors import InvalidInput, NotFound
from shared.rows import Row, read_rows
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.tasks import load_task
from shared.weights import load_model, load_tokenizer
from teacher_inference.fingerprint import fingerprint
from teacher_inference.main import main

LABELS = ["sport", "politics", "very good"]
TASK = {"type": "classification", "labels": LABELS}
WORDS = ["the match was good", "a bill passed the house", "sport and politics", "very good indeed"] * 4
PROMPTS = ["the match was good " * count for count in (1, 3, 2, 5, 1, 4)] + ["a bill passed", "the match was good "]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model; its weights are made large enough for prompts to matter."""
    folder = tmp_path_factory.mktemp("teacher")
    tokenizer = train_tokenizer(WORDS, 300)
    recipe = Recipe(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48, vocab_size=300)
    model: Any = initial_model(make_config(recipe, tokenizer), 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6 if parameter.dim() > 1 else 1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(bench: Bench, teacher: Path | str, task: dict[str, Any], **options: str) -> list[Row]:
    """The train rows of a run in this process."""
    named = {"teacher_folder": str(teacher)} if isinstance(teacher, Path) else {"teacher_id": teacher}
    given: dict[str, Any] = {"data": bench.folder / "data", "responses": bench.responses, "answers": bench.answers}
    given |= {"task": json.dumps(task), **named, **options}
    main([f"--{name.replace('_', '-')}={value}" for name, value in given.items()])
    return list(read_rows(bench.responses / "train.jsonl"))


def naive(folder: Path, row: Row, task: dict[str, Any], labels: list[str]) -> dict[str, float]:
    """log P of each label, normalised: one forward pass for each row and label, nothing shared or padded."""
    model, tokenizer = load_model(str(folder), torch.float32), load_tokenizer(str(folder))
    prompt = prompt_ids(tokenizer, load_task(json.dumps(task)).teacher_messages(row.prompt))
    sums = []
    for label in labels:
        ids = answer_ids(tokenizer, label)
        with torch.inference_mode():
            logprobs = model(torch.tensor([prompt + ids])).logits[0].float().log_softmax(-1)
        sums.append(sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(ids)))
    total = math.log(sum(map(math.exp, sums)))
    return {label: value - total for label, value in zip(labels, sums, strict=True)}


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 on any machine: the comparison is with the arithmetic, not with its precision."""
    monkeypatch.setattr("shared.weights.fast_dtype", lambda: torch.float32)


@pytest.mark.usefixtures("exact")
def test_labels_and_their_probabilities_equal_naive_scoring(bench: Bench, folder: Path) -> None:
    bench.write("train", PROMPTS)
    rows = run(bench, folder, TASK, probabilities="labels")
    assert len(rows) == len(PROMPTS)
    assert len({str(row.label_logprobs) for row in rows}) == len({prompt.strip() for prompt in PROMPTS})
    for row in rows:
        expected = naive(folder, row, TASK, LABELS)
        assert row.label_logprobs == pytest.approx(expected, abs=1e-3)
        assert row.answer == max(expected, key=lambda label: expected[label])
    usage = json.loads((bench.responses / "usage.json").read_text())
    assert (usage["kind"], usage["teacher"]) == ("hosted", folder.name)
    assert (usage["requests"], usage["cost"], usage["latency_ms"]) == (0, None, {"p50": None, "p95": None})
    assert usage["answered"] == len(PROMPTS)
    assert usage["prompt_tokens"] > 0


@pytest.mark.usefixtures("exact")
def test_questions_with_different_options_are_scored_by_their_own(bench: Bench, folder: Path) -> None:
    two, three = "which?\nA) a bill\nB) a match", "which?\nA) good\nB) a match\nC) the house"
    bench.write("train", [two, three, two + " ", three + " passed"])
    rows = run(bench, folder, {"type": "nlu_qa"})
    assert [list(row.label_logprobs or ()) for row in rows] == [["A", "B"], ["A", "B", "C"]] * 2
    for row in rows:
        expected = naive(folder, row, {"type": "nlu_qa"}, list(row.label_logprobs or ()))
        assert row.label_logprobs == pytest.approx(expected, abs=1e-3)


def test_free_text_is_generated_cut_or_finished(bench: Bench, folder: Path) -> None:
    bench.write("train", PROMPTS)
    limits = '{"max_tokens": 12, "temperature": 1.0, "seed": 3}'
    with pytest.raises(InvalidInput, match="8 × cut at max_tokens"):  # a random model never ends its turn
        run(bench, folder, CHAT, sampling=limits)
    rejected = (bench.responses / "rejected.jsonl").read_text().splitlines()
    assert len(rejected) == len(PROMPTS)


def test_a_finished_run_loads_no_weights(bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("train", PROMPTS)
    first = run(bench, folder, TASK)

    def refuse(*_: Any) -> Any:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("teacher_inference.hosted.TorchModel", refuse)
    assert run(bench, folder, TASK) == first


def test_a_prompt_longer_than_the_context_is_rejected(bench: Bench, folder: Path) -> None:
    context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    bench.write("train", ["the match", "good " * (context + 1)])
    rows = run(bench, folder, TASK)
    assert [row.id for row in rows] == ["train0"]
    (rejected,) = (bench.responses / "rejected.jsonl").read_text().splitlines()
    assert json.loads(rejected)["reason"] == f"longer than the model's context of {context} tokens"


def test_a_folder_without_a_model(bench: Bench, tmp_path: Path) -> None:
    bench.write("train", ["a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match=r"lack a config\.json"):
        run(bench, tmp_path / "empty", TASK)


def test_the_fingerprint_is_of_weights_not_of_notes(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "training.json").write_text("{}")
    assert fingerprint(copy) == fingerprint(folder)
    weights = copy / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1  # one bit of one weight: same header, same size
    weights.write_bytes(changed)
    assert fingerprint(copy) != fingerprint(folder)


def test_the_real_smollm2_knows_a_capital(bench: Bench) -> None:
    bench.write("train", ["What is the capital of France?\nA) Rome\nB) Paris", "Is a stone alive?\nA) Yes\nB) No"])
    rows = run(bench, SMOLLM2, {"type": "nlu_qa"}, probabilities="labels")
    for row in rows:
        assert row.label_logprobs is not None
        assert math.fsum(map(math.exp, row.label_logprobs.values())) == pytest.approx(1)
        assert row.answer == max(row.label_logprobs, key=row.label_logprobs.__getitem__)
    task = {"type": "conversation", "system_prompt": "Answer with one short sentence."}
    bench.write("train", ["What is the capital of France?"])
    (row,) = run(bench, SMOLLM2, task, sampling='{"max_tokens": 24}')
    assert "Paris" in (row.answer or "")
