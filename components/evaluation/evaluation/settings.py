"""The `--settings` of the component: which metrics, which gate, what the contenders are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evaluation.gate import Check, parse_checks
from evaluation.metrics import ALIASES, LATENCY, applicable
from evaluation.suggest import unknown
from shared.errors import InvalidInput, Problem, load_json
from shared.tasks import Task

ROLES = ("teacher", "baseline", "gold_only", "other", "student")


@dataclass(frozen=True)
class Judge:
    """Who judges, and at most how many rows.  `endpoint` is told to the teacher's client as it is."""

    endpoint: dict[str, Any]
    rows: int = 100

    @property
    def model(self) -> str:
        return str(self.endpoint["model"])

    @property
    def key_env(self) -> str | None:
        """The environment variable without which the judge cannot be asked."""
        auth = self.endpoint.get("auth", {})
        return auth.get("name") if auth.get("kind") == "key_env" and "connection" not in auth else None


@dataclass(frozen=True)
class Settings:
    """`metrics` are the names to report, the task's own where none were asked for.

    `headline` is the metric that retention and gain are read from.  `latency_rows` requests are timed;
    `bootstrap` is the number of resamples.  `lineage` is shown in the report as it is.  `teacher_parameters` is the
    published size of a teacher behind an endpoint.
    """

    metrics: tuple[str, ...]
    headline: str
    gate: tuple[Check, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    judge: Judge | None = None
    seed: int = 0
    max_new_tokens: int = 256
    latency_rows: int = 20
    bootstrap: int = 2000
    teacher_parameters: int | None = None

    @property
    def quality_metrics(self) -> tuple[str, ...]:
        """Every metric to compute from answers: those asked for, the headline and those of the gate."""
        gated = [check.metric for check in self.gate if check.metric]
        wanted = dict.fromkeys([*self.metrics, self.headline, *gated])
        return tuple(name for name in wanted if name != LATENCY)


# name: smallest sensible value
NUMBERS = {"seed": 0, "max_new_tokens": 1, "latency_rows": 1, "bootstrap": 100, "teacher_parameters": 1}
KNOWN = ("metrics", "gate", "names", "lineage", "judge", *NUMBERS, "min_accuracy_gain", "min_retention")


def load_settings(text: str, task: Task) -> Settings:
    """The settings of a `--settings` argument; raises InvalidInput with every problem at once."""
    value = load_json(text, "settings")
    problems = [unknown("setting", key, KNOWN, "settings") for key in value.keys() - set(KNOWN)]
    problems += [
        Problem(f"must be a whole number, at least {least}", field=f"settings.{key}")
        for key, least in NUMBERS.items()
        if key in value and not _whole(value[key], least)
    ]
    problems += _mappings(value)
    judge, found = _judge(value.get("judge"))
    problems += found
    metrics, found = _metrics(value.get("metrics"), task)
    problems += found
    minimums = {key: value[key] for key in ("min_accuracy_gain", "min_retention") if value.get(key) is not None}
    gate, found = parse_checks(value.get("gate"), minimums, headline(metrics, task), applicable(task))
    problems += found
    if problems:
        raise InvalidInput(*problems)
    rest: dict[str, Any] = {key: value[key] for key in (*NUMBERS, "names", "lineage") if key in value}
    return Settings(metrics=metrics, headline=headline(metrics, task), gate=gate, judge=judge, **rest)


def headline(metrics: tuple[str, ...], task: Task) -> str:
    """The task's own first figure where it was asked for, else the first quality metric that was."""
    quality = [name for name in metrics if name != LATENCY]
    return task.headline if task.headline in quality or not quality else quality[0]


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _mappings(value: dict[str, Any]) -> list[Problem]:
    problems = []
    names = value.get("names", {})
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        problems.append(Problem("must map a role to a name", field="settings.names"))
    else:
        problems += [unknown("role", role, ROLES, "settings.names") for role in names.keys() - set(ROLES)]
    if not isinstance(value.get("lineage", {}), dict):
        problems.append(Problem("must be an object", field="settings.lineage"))
    return problems


def _judge(value: object) -> tuple[Judge | None, list[Problem]]:
    if value is None:
        return None, []
    if not isinstance(value, dict):
        return None, [Problem("must be an object", field="settings.judge")]
    problems = [
        unknown("key", key, ("endpoint", "rows"), "settings.judge") for key in value.keys() - {"endpoint", "rows"}
    ]
    endpoint = value.get("endpoint")
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("auth", {}), dict):
        problems.append(Problem("must be an object, as teacher_inference takes it", field="settings.judge.endpoint"))
    else:
        problems += [
            Problem("must be a text", field=f"settings.judge.endpoint.{name}")
            for name in ("url", "model")
            if not isinstance(endpoint.get(name), str) or not endpoint[name]
        ]
    if not _whole(value.get("rows", 1), 1):
        problems.append(Problem("must be a whole number, at least 1", field="settings.judge.rows"))
    return (None if problems else Judge(**value)), problems


def _metrics(asked: object, task: Task) -> tuple[tuple[str, ...], list[Problem]]:
    """The metrics to report by their own names, and what is wrong with those asked for."""
    if asked is None or asked == []:
        return task.metrics, []
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
        return task.metrics, [Problem("must be a list of metric names", field="settings.metrics")]
    names = tuple(dict.fromkeys(ALIASES.get(str(name), str(name)) for name in asked))
    fitting = applicable(task)
    every = tuple(dict.fromkeys([*fitting, *applicable(None)]))
    problems = [unknown("metric", name, every, "settings.metrics") for name in names if name not in every]
    problems += [
        Problem(
            f"{name!r} does not apply to {task.name}", field="settings.metrics", hint=f"these do: {', '.join(fitting)}"
        )
        for name in names
        if name in every and name not in fitting
    ]
    return names, problems
