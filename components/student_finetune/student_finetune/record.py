"""training.json: what was trained, how, on what, and how it went."""

from __future__ import annotations

import hashlib
import platform
import resource
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from shared.rows import write_json
from shared.scratch import Recipe
from student_finetune import ranks
from student_finetune.history import History
from student_finetune.settings import Distillation, Hyperparameters
from student_finetune.students import Student

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate")


def write_record(
    folder: Path,
    name: str | None,
    recipe: Recipe | None,
    chosen: Hyperparameters,
    distillation: Distillation,
    rows: int,
    data: Path,
    student: Student,
    history: History,
    parameters: int,
    coverage: float | None = None,
) -> None:
    """Write training.json.

    `parameters` are those of the saved model.  `coverage` is the share of the answers' tokens for which an endpoint's
    log probabilities were of use.  `trained_tokens` are the answers' tokens over all epochs; `tokens_per_s` counts
    prompts too, padding never.
    """
    write_json(
        folder / "training.json",
        {
            **distillation.to_json(),
            "coverage": coverage,
            "student": name or "scratch",
            "from_scratch": recipe is not None,
            "seed": chosen.seed,
            **({"recipe": asdict(recipe)} if recipe else {}),
            "hyperparameters": asdict(chosen),
            "rows": rows,
            "epochs": len(history.validation) or chosen.num_epochs,
            "steps": history.steps,
            "loss": history.loss,
            "validation": history.validation,
            "best_epoch": history.best_epoch,
            "trained_tokens": history.trained_tokens,
            "tokens_per_s": round(history.seen_tokens / history.seconds, 1),
            "seconds": round(history.seconds, 2),
            "peak_memory_bytes": peak_memory_bytes(),
            "parameters": parameters,
            **({"kept_layers": student.kept_layers} if student.kept_layers else {}),
            "data_hash": data_hash(data),
            "device": device(),
            "precision": history.precision,
            "processes": ranks.world(),
            "sharded": history.sharded,
            "packed": history.packed,
            "gradient_checkpointing": history.recomputed,
            "resumed_at": history.resumed_at,
            "versions": versions(),
        },
    )


def device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def data_hash(data: Path) -> str:
    """SHA-256 over the row files that exist, name and content."""
    digest = hashlib.sha256()
    for file in (data / "train.jsonl", data / "validation.jsonl"):
        if file.exists():
            content = file.read_bytes()
            digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def peak_memory_bytes() -> int:
    """Of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
