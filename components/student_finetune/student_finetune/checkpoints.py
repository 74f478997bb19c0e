"""Checkpoints, for a run that is stopped in the middle and begun again with the same inputs.

They lie in a folder that outlives the run, under a key made of everything the training's result depends on:

    CHECKPOINTS/KEY/WRITER/checkpoint-STEP/     transformers' files: weights, optimizer, schedule, random numbers
        best-RANK.safetensors                   the best epoch's weights so far
        complete.json                           the history; written last, so what lacks it is not a checkpoint

Each run is a writer of its own, so two runs of the same job at the same time do not touch each other's files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import shared
from student_finetune import ranks
from student_finetune.history import History

COMPLETE = "complete.json"
ABANDONED = 3600  # seconds after which an incomplete checkpoint belongs to nobody any more
EXPIRED = 30 * 24 * 3600  # seconds after which nobody goes on from a complete one any more
SAMPLED, BLOCKS, BLOCK = 64 << 20, 16, 64 << 10  # bytes: files above the first are judged by blocks


class Checkpoints:
    """The checkpoints of one training, and the folder in which this run writes its own."""

    def __init__(self, folder: Path, key: str) -> None:
        self.all = folder / key
        self.own = self.all / ranks.from_main(uuid.uuid4().hex[:12])
        if ranks.is_main():
            self.all.mkdir(parents=True, exist_ok=True)
            self._sweep()
        ranks.wait()

    def latest(self) -> Path | None:
        """The complete checkpoint with the most steps, as process 0 sees it."""
        found = max(self._complete(), key=_step, default=None) if ranks.is_main() else None
        return ranks.from_main(found)

    def complete(self, checkpoint: Path, history: History) -> None:
        """Make it count, and give up those before it."""
        partial = checkpoint / f".{COMPLETE}"
        partial.write_text(json.dumps(asdict(history)), encoding="utf-8")
        os.replace(partial, checkpoint / COMPLETE)
        for older in list(self._complete()):
            if _step(older) < _step(checkpoint):
                _remove(older)

    def clear(self) -> None:
        """The training ended well: nothing is to go on with."""
        for checkpoint in list(self._complete()):
            _remove(checkpoint)
        shutil.rmtree(self.own, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run of the same job may still need it
            self.all.rmdir()

    def _complete(self) -> Iterator[Path]:
        return (marker.parent for marker in self.all.glob(f"*/checkpoint-*/{COMPLETE}"))

    def _sweep(self) -> None:
        """Remove what runs that were killed left half written, and what nobody came back for."""
        for checkpoint in self.all.parent.glob("*/*/checkpoint-*"):
            limit = EXPIRED if (checkpoint / COMPLETE).exists() else ABANDONED
            if time.time() - checkpoint.stat().st_mtime > limit:
                _remove(checkpoint)


def read_history(checkpoint: Path) -> History:
    return History(**json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8")))


def key_of(facts: Mapping[str, Any]) -> str:
    """The name of the trainings that have the same result."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def code_hash() -> str:
    """Of this program and what it shares with others: another version of it may train otherwise."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(str(shared.__file__)).parent):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def weights_hash(folder: Path) -> str:
    """Of a model folder's files: small ones whole, large ones by blocks, since training changes all of a file."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder)} {size}\n".encode())
        with file.open("rb") as content:
            if size <= SAMPLED:
                digest.update(content.read())
            else:
                for number in range(BLOCKS):
                    content.seek((size - BLOCK) * number // (BLOCKS - 1))
                    digest.update(content.read(BLOCK))
    return digest.hexdigest()


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _remove(checkpoint: Path) -> None:
    (checkpoint / COMPLETE).unlink(missing_ok=True)  # first, so that no half of it counts
    shutil.rmtree(checkpoint, ignore_errors=True)
    with contextlib.suppress(OSError):  # unless another lies beside it
        checkpoint.parent.rmdir()
