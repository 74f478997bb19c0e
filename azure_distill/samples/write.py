"""Writing sample rows and their job file into a folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from azure_distill.errors import ConfigurationError, InvalidJob, Problem
from azure_distill.samples import generate
from azure_distill.samples.job import job_file

SEED = 0


@dataclass(frozen=True)
class Sizes:
    """Rows in each file; a file of no rows is not written."""

    training: int = 300
    validation: int = 60
    test: int = 100
    gold: int = 60


def write_sample(task: str, folder: Path) -> list[Path]:
    """Rows and job.yaml for `azure-distill init`; returns the files written.

    Raises InvalidJob, having written nothing, when one of the files exists, ConfigurationError when it cannot write.
    """
    return _write(folder, _rows(task, Sizes()) | {"job.yaml": job_file(task)})


def write_rows(task: str, folder: Path, sizes: Sizes) -> list[Path]:
    """The rows alone, in any number; otherwise as `write_sample`."""
    return _write(folder, _rows(task, sizes))


def _rows(task: str, sizes: Sizes) -> dict[str, str]:
    """{file name: text}; no prompt is in two files."""
    counts = (sizes.test, sizes.validation, sizes.gold, sizes.training)
    rows = generate(task, sum(counts), SEED)
    test, validation, gold, training = (list(islice(rows, count)) for count in counts)
    unanswered = ({"messages": row["messages"][:-1]} for row in training)
    files = {"training_data": unanswered, "validation_data": validation, "test_data": test, "gold": gold}
    return {f"{name}.jsonl": text for name, lines in files.items() if (text := _lines(lines))}


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(folder: Path, files: dict[str, str]) -> list[Path]:
    targets = [folder / name for name in files]
    taken = [Problem("already exists", str(path), hint="choose another folder") for path in targets if path.exists()]
    if taken:
        raise InvalidJob(taken)
    try:
        _write_all(targets, files)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written to: {error.strerror or error}") from None
    return targets


def _write_all(targets: Sequence[Path], files: Mapping[str, str]) -> None:
    folder = targets[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".init-") as scratch:
        for path in targets:
            (Path(scratch) / path.name).write_text(files[path.name], encoding="utf-8")
        for path in targets:  # whole files only, the job file last
            os.replace(Path(scratch) / path.name, path)
