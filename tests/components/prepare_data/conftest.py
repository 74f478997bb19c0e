"""A function that prepares rows in a folder of its own and says what came of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prepare_data.main import main
from shared.errors import InvalidInput


@dataclass(frozen=True)
class Outcome:
    """What a run left: the report, and the rows of each split that was written."""

    report: dict[str, Any]
    splits: dict[str, list[dict[str, Any]]]
    gold: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    problems: list[str]
    folder: Path

    def ids(self, split: str) -> list[str]:
        return [row["id"] for row in self.splits.get(split, [])]

    def prompts(self, split: str) -> list[str]:
        return [row["messages"][0]["content"] for row in self.splits.get(split, [])]


Prepare = Callable[..., Outcome]
Content = bytes | str | list[dict[str, Any]] | Path


@pytest.fixture(scope="session")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """`prepare(training=…, test=…, task="nli", settings={…})`; inputs are rows, the file's text or bytes, or a path."""
    base = tmp_path_factory.mktemp("prepare")

    def run(
        task: str | dict[str, Any] = "conversation",
        settings: dict[str, Any] | str | None = None,
        suffix: str = ".jsonl",
        **inputs: Content,
    ) -> Outcome:
        folder = Path(tempfile.mkdtemp(dir=base))
        argv = ["--data", str(folder / "data"), "--gold", str(folder / "gold")]
        argv += ["--task", json.dumps({"type": task} if isinstance(task, str) else task)]
        argv += [f"--settings={settings if isinstance(settings, str) else json.dumps(settings or {})}"]
        for name, content in inputs.items():
            path = content if isinstance(content, Path) else folder / f"{name}{suffix}"
            if not isinstance(content, Path):
                path.write_bytes(as_bytes(content))
            argv += [f"--{name}-data", str(path)]
        try:
            main(argv)
        except InvalidInput as error:
            left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.parent != folder)
            assert left == ["data/data_report.json"]
            return outcome(folder, [str(problem).replace(f"{folder}/", "") for problem in error.problems])
        assert not list(folder.rglob("*.tmp"))
        return outcome(folder, [])

    return run


def as_bytes(content: bytes | str | list[dict[str, Any]]) -> bytes:
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    return content.encode() if isinstance(content, str) else content


def outcome(folder: Path, problems: list[str]) -> Outcome:
    report = json.loads((folder / "data" / "data_report.json").read_text())
    assert report["valid"] is not bool(problems)
    names = [name for name in ("train", "validation", "test") if (folder / "data" / f"{name}.jsonl").exists()]
    splits = {name: json_lines(folder / "data" / f"{name}.jsonl") for name in names}
    gold, rejected = folder / "gold" / "train.jsonl", folder / "data" / "rejected.jsonl"
    return Outcome(report, splits, json_lines(gold), json_lines(rejected), problems, folder)


def json_lines(path: Path) -> list[dict[str, Any]]:
    # not str.splitlines: a row may hold U+0085 or U+2028 as it is
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]] if path.exists() else []
