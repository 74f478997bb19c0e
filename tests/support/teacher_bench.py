"""A small data folder and both ways to run the component on it: in this process and as one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientTimeout
from loopback_teacher import LoopbackTeacher

from shared.examples import read_examples
from shared.rows import Row, read_rows, write_rows
from shared.tasks import load_task
from teacher_inference.endpoint import EndpointTeacher
from teacher_inference.judge import Judge
from teacher_inference.questions import Questions
from teacher_inference.retry import Backoff
from teacher_inference.runner import Runner
from teacher_inference.selection import Policy
from teacher_inference.settings import Auth, EndpointSettings, Limits, Prices, Sampling
from teacher_inference.source import Source
from teacher_inference.store import Store
from teacher_inference.teacher import Needs
from teacher_inference.usage import Meter

ROOT = Path(__file__).parents[2]
TOPICS = {"type": "classification", "labels": ["sport", "politics", "tech"]}
CHAT = {"type": "conversation"}
QUICK = Backoff(attempts=5, base=0.01, cap=0.05)


@dataclass
class Result:
    """What a run wrote."""

    usage: dict[str, Any]
    train: list[Row]
    validation: list[Row]
    test: list[Row]
    rejected: list[dict[str, str]]


@dataclass
class Bench:
    """One data folder, one store."""

    folder: Path
    process_environment: dict[str, str] = field(default_factory=dict)

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    @property
    def responses(self) -> Path:
        return self.folder / "responses"

    def write(self, split: str, prompts: list[str], reference: str | None = None, folder: str = "data") -> None:
        """Rows `SPLIT0`, `SPLIT1` … of one user message each."""
        (self.folder / folder).mkdir(exist_ok=True)
        rows = [
            Row(f"{split}{index}", [{"role": "user", "content": prompt}], reference, reference)
            for index, prompt in enumerate(prompts)
        ]
        write_rows(self.folder / folder / f"{split}.jsonl", rows)

    def run(
        self,
        server: LoopbackTeacher,
        task: dict[str, Any] = CHAT,
        *,
        sampling: Sampling | None = None,
        limits: Limits | None = None,
        needs: Needs = "none",
        auth: Auth | None = None,
        prices: Prices | None = None,
        api_version: str | None = None,
        url: str | None = None,
        api: str | None = None,
        constrain: bool = True,
        timeout: float = 10.0,
        backoff: Backoff = QUICK,
    ) -> Result:
        """A whole run in this process."""
        settings = EndpointSettings(
            url or server.url, "teacher", auth or Auth(), api_version, prices, api=api, constrain=constrain
        )
        sampling, meter = sampling or Sampling(), Meter(prices)
        teacher = EndpointTeacher(
            settings, sampling, limits or Limits(), meter, needs, backoff, ClientTimeout(total=timeout)
        )
        asked = load_task(json.dumps(task))
        judge, policy = Judge(asked, needs), Policy.of(asked, sampling.samples, sampling.selection, sampling.re_asks)
        examples = read_examples(self.folder / "gold", sampling.few_shot)
        questions = Questions(self.folder / "data", asked, examples, sampling.few_shot)
        store = Store(self.answers, teacher.name, teacher.origin)
        try:
            Runner(questions, [Source(teacher, store, judge, meter)], policy, judge).run(self.responses)
        finally:
            store.close()
        return self.result()

    def result(self) -> Result:
        rows = {split: list(read_rows(self.responses / f"{split}.jsonl")) for split in ("train", "validation", "test")}
        usage = json.loads((self.responses / "usage.json").read_text())
        rejected = [json.loads(line) for line in (self.responses / "rejected.jsonl").read_text().splitlines()]
        return Result(usage, rejected=rejected, **rows)

    def command(self, endpoint: dict[str, Any], task: dict[str, Any] = CHAT, **options: str) -> list[str]:
        given = {
            "data": self.folder / "data",
            "endpoint": json.dumps({"model": "teacher", **endpoint}),
            "task": json.dumps(task),
            "responses": self.responses,
            "answers": self.answers,
            **options,
        }
        return [sys.executable, "-m", "teacher_inference", *(f"--{k.replace('_', '-')}={v}" for k, v in given.items())]

    def start(self, endpoint: dict[str, Any], task: dict[str, Any] = CHAT, **options: str) -> subprocess.Popen[str]:
        """The component as a process of its own."""
        paths = os.pathsep.join(str(ROOT / part) for part in ("components/teacher_inference", "components"))
        return subprocess.Popen(
            self.command(endpoint, task, **options),
            env={**os.environ, **self.process_environment, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
