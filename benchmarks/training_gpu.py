"""How fast, and in how much memory, a student is trained on a GPU, beside trl's SFTTrainer: prints one JSON object.

    python benchmarks/training_gpu.py [--size 1b] [--rows 256] [--ways ours …] [--tuning lora full]

The student has the shape of Llama 3.2 1B or 3B and random weights, so nothing is downloaded; speed and memory do not
depend on what they are.  Rows have 64 to 2,048 tokens, log-uniform, a quarter of them the answer, which alone is
trained.  Same weights, rows, batch size, optimizer and precision for all; each way is a process of its own, which
trains on a few rows first.  `attention` says what kept packed rows apart.

`mfu` is the share of the GPU's peak in bfloat16 that goes into what training needs: 6 operations a weight and token, 4
with LoRA, whose frozen weights want no gradient; the output layer's counted where an answer is trained only.
Attention's own products are left out.  `toy` is for a machine without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMPONENTS = Path(__file__).resolve().parent.parent / "components"
sys.path[:0] = [str(COMPONENTS), str(COMPONENTS / "student_finetune")]

import torch  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from shared.scratch import train_tokenizer  # noqa: E402
from student_finetune.data import Example  # noqa: E402
from student_finetune.packing import FLASH  # noqa: E402
from student_finetune.settings import Hyperparameters, parse_hyperparameters  # noqa: E402
from student_finetune.signals import Objective  # noqa: E402
from student_finetune.students import Student, from_weights  # noqa: E402
from student_finetune.train import train  # noqa: E402

SIZES: dict[str, dict[str, int]] = {
    "toy": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "intermediate_size": 128, "vocab_size": 512},
    "1b": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
           "intermediate_size": 8192, "vocab_size": 128256},
    "3b": {"hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8,
           "intermediate_size": 8192, "vocab_size": 128256},
}  # fmt: skip
WAYS = ("ours, packed", "ours", "sft, packed", "sft")
TUNINGS = ("lora", "full")
SHORT, LONG, ANSWER = 64, 2048, 0.25  # tokens, tokens, share
BATCH, ACCUMULATION = 4, 4
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L40S": 362e12, "A10": 125e12, "L4": 121e12}
"""Dense operations a second in bfloat16, from Nvidia's data sheets; an H100 of the SXM kind."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="1b" if torch.cuda.is_available() else "toy")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--longest", type=int, default=LONG)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--tuning", nargs="+", choices=TUNINGS, default=TUNINGS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)  # of the process that measures one way
    given = parser.parse_args()
    if given.weights:
        with contextlib.redirect_stdout(sys.stderr):
            found = measure(given.ways[0], given.tuning[0], given.weights, given.rows, given.longest)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_weights(given.size, Path(folder))
        common = ["--size", given.size, "--rows", str(given.rows), "--longest", str(given.longest)]
        found = {
            tuning: {way: one(["--weights", folder, *common, "--tuning", tuning, "--ways", way]) for way in given.ways}
            for tuning in given.tuning
        }
    print(json.dumps({"size": given.size, "rows": given.rows, "device": device(), **found}))


def one(arguments: Sequence[str]) -> Any:
    """What a process prints; its last complaint where it fails, as for want of memory."""
    print(*arguments, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def write_weights(size: str, folder: Path) -> None:
    """Random weights in bfloat16, and a tokenizer, which nothing is tokenised with."""
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES[size], tie_word_embeddings=True, max_position_embeddings=2 * LONG, pad_token_id=0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    train_tokenizer(["one two"] * 4, 300).save_pretrained(folder)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # what this process holds, the processes that are measured lack


def measure(way: str, tuning: str, weights: Path, count: int, longest: int) -> dict[str, Any]:
    """Tokens a second, peak memory and model FLOPs utilisation of one way."""
    chosen = hyperparameters(tuning, packing="packed" in way)
    run = ours if way.startswith("ours") else sft
    student = from_weights(str(weights), chosen)
    rows = examples(count, longest, student.model.config.vocab_size)
    run(student, rows[: 2 * BATCH], chosen)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    run(student, rows, chosen)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds, tokens = time.perf_counter() - started, sum(map(len, rows))
    peak = next((value for name, value in PEAKS.items() if name in device()), None)
    work = operations(student.model, tuning, tokens, sum(len(row.answer) for row in rows))
    return {
        "tokens_per_s": round(tokens / seconds),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1) if torch.cuda.is_available() else None,
        "mfu": round(work / seconds / peak, 3) if peak else None,
        "attention": student.model.config._attn_implementation,
    }


def hyperparameters(tuning: str, *, packing: bool) -> Hyperparameters:
    given = {"lora_rank": 16 if tuning == "lora" else 0, "packing": packing, "num_epochs": 1, "warmup_ratio": 0}
    steps = {"batch_size": BATCH, "gradient_accumulation_steps": ACCUMULATION}
    return parse_hyperparameters(json.dumps(given | steps), from_scratch=False)


def operations(model: Any, tuning: str, tokens: int, answers: int) -> float:
    """That a training on so many tokens needs."""
    head = model.get_output_embeddings().weight.numel()
    layers = sum(weight.numel() for weight in model.get_decoder().layers.parameters())
    return (4 if tuning == "lora" else 6) * (layers * tokens + head * answers)


def examples(count: int, longest: int, vocabulary: int) -> list[Example]:
    draw = random.Random(7)
    found = []
    for number in range(count):
        length = round(math.exp(draw.uniform(math.log(min(SHORT, longest / 4)), math.log(longest))))
        ids = draw.choices(range(1, vocabulary), k=length)
        cut = round(length * (1 - ANSWER))
        found.append(Example(ids[:cut], ids[cut:], number=number))
    return found


def ours(student: Student, rows: Sequence[Example], chosen: Hyperparameters) -> None:
    with tempfile.TemporaryDirectory() as folder:
        train(student, rows, Objective(), chosen, None, Path(folder))


def sft(student: Student, rows: Sequence[Example], chosen: Hyperparameters) -> None:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    model: Any = student.model
    if chosen.packing and torch.cuda.is_available():
        with contextlib.suppress(ImportError, ValueError):
            model.set_attn_implementation(FLASH)
    data = [
        {"input_ids": r.prompt + r.answer, "completion_mask": [0] * len(r.prompt) + [1] * len(r.answer)} for r in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder, per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION,
            num_train_epochs=1, learning_rate=chosen.learning_rate, lr_scheduler_type="cosine",
            optim="adamw_torch_fused", bf16=torch.cuda.is_available(), use_cpu=not torch.cuda.is_available(),
            max_length=max(map(len, rows)), packing=bool(chosen.packing), completion_only_loss=True,
            gradient_checkpointing=False, save_strategy="no", logging_strategy="no", report_to="none",
            disable_tqdm=True,
        )  # fmt: skip
        SFTTrainer(
            model=model, args=config, train_dataset=Dataset.from_list(data), processing_class=student.tokenizer
        ).train()


def device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
