"""Where the result goes, and writing it: all files or none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from shared.rows import SPLITS


@dataclass(frozen=True)
class Outputs:
    """The two output folders and every file in them."""

    data: Path
    gold: Path

    @property
    def report(self) -> Path:
        return self.data / "data_report.json"

    @property
    def rejected(self) -> Path:
        return self.data / "rejected.jsonl"

    def split(self, name: str) -> Path:
        """The file of a split; the gold rows are the training rows of a folder of their own."""
        return self.gold / "train.jsonl" if name == "gold" else self.data / f"{name}.jsonl"

    def rows(self) -> list[Path]:
        return [self.split(name) for name in (*SPLITS, "gold")]

    def clear(self) -> None:
        """Remove what an earlier run, or the beginning of a failed one, left."""
        for path in (*self.rows(), self.rejected, self.report):
            path.unlink(missing_ok=True)


def deal(lines: Iterable[bytes], splits: Iterable[str], files: Mapping[str, Path]) -> None:
    """Write each line to the file of its split; a line whose split has no file is left out.

    The files appear when the last line is written; when anything fails, none does.
    """
    with ExitStack() as cleanup, ExitStack() as closing:
        temporaries = {split: path.with_name(path.name + ".tmp") for split, path in files.items()}
        streams = {}
        for split, temporary in temporaries.items():
            cleanup.callback(temporary.unlink, missing_ok=True)
            streams[split] = closing.enter_context(temporary.open("wb"))
        for line, split in zip(lines, splits, strict=True):
            if split in streams:
                streams[split].write(line)
        closing.close()
        for split, temporary in temporaries.items():
            os.replace(temporary, files[split])
