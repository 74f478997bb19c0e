"""Tiny real models, small data sets, and the component as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
LABELS = ("sport", "politics", "very good sport")
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
Lines = list[dict[str, Any]]


def tiny_model(folder: Path, seed: int, *, hidden: int = 32, layers: int = 1) -> Path:
    """A Llama of a few thousand weights with a byte tokenizer, saved as `from_pretrained` loads it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer: Any = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(special + alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrap: Any = PreTrainedTokenizerFast
    fast = wrap(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", additional_special_tokens=special[2:]
    )
    fast.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(special) + len(alphabet),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=1,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student, the same untrained, a larger teacher, and one whose weights are missing from its file."""
    folder = tmp_path_factory.mktemp("models")
    broken = tiny_model(folder / "broken", 4)
    (broken / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    return {
        "student": tiny_model(folder / "student", 1),
        "baseline": tiny_model(folder / "baseline", 2),
        "teacher": tiny_model(folder / "teacher", 3, hidden=64, layers=2),
        "broken": broken,
    }


@pytest.fixture
def label_task() -> str:
    return json.dumps({"type": "classification", "labels": list(LABELS)})


@pytest.fixture
def label_rows() -> Callable[..., Lines]:
    """Rows of a classification; their references go round the labels, or are given (None: there is none)."""

    def make(count: int, references: Iterable[str | None] | None = None) -> Lines:
        given = list(references) if references is not None else [LABELS[index % 3] for index in range(count)]
        rows = []
        for index, reference in enumerate(given):
            messages = [{"role": "user", "content": f"Topic of article {index} " + "x" * (index % 7)}]
            if reference is not None:
                messages.append({"role": "assistant", "content": reference})
            rows.append({"id": f"r{index}", "messages": messages, "reference": reference})
        return rows

    return make


@pytest.fixture
def answered() -> Callable[[Lines, Iterable[str]], Lines]:
    """The rows as the teacher answered them."""

    def answer(rows: Lines, texts: Iterable[str]) -> Lines:
        return [
            row
            | {
                "messages": [m for m in row["messages"] if m["role"] != "assistant"]
                + [{"role": "assistant", "content": text}]
            }
            for row, text in zip(rows, texts, strict=True)
        ]

    return answer


@pytest.fixture
def write_lines() -> Callable[[Path, Lines], Path]:
    def write(path: Path, rows: Lines) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the component as a step does; `None` arguments are left out."""

    def run(**arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "evaluation"]
        for name, value in arguments.items():
            if value is not None:
                command += ["--" + name.replace("_", "-"), str(value)]
        folders = [ROOT / "components" / name for name in ("evaluation", "teacher_inference", "")]
        path = os.pathsep.join(map(str, folders))
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run
