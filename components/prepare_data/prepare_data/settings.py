"""The `--settings` argument: how to map columns, split, deduplicate and balance."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from shared.errors import InvalidInput, Problem, load_json


@dataclass(frozen=True)
class Columns:
    """Names of the user's columns (or flat JSON fields).

    A row is a conversation in the column `messages`, or, where `prompt` is given, one question with an optional
    answer and system message.  `id` names the row.
    """

    messages: str = "messages"
    prompt: str | None = None
    answer: str | None = None
    system: str | None = None
    id: str = "id"

    def flat(self) -> dict[str, str]:
        """{part: column} of the flat form; empty where rows are conversations."""
        parts = {"prompt": self.prompt, "answer": self.answer, "system": self.system}
        return {part: column for part, column in parts.items() if column is not None}


@dataclass(frozen=True)
class Settings:
    """How rows are prepared.

    `validation_split` and `test_split` are the shares of the training rows that are split off where the user gives
    no such file.  `near_duplicates` is the Jaccard similarity from which on a row repeats another one (None: exact
    repeats only).  `leakage` says what becomes of a training row that stands in the user's validation or test file
    too.  `balance` cuts every label to as many training rows as the rarest one has.  `max_tokens` drops longer rows.
    """

    columns: Columns = field(default_factory=Columns)
    validation_split: float = 0.1
    test_split: float = 0.1
    seed: int = 0
    near_duplicates: float | None = 0.9
    leakage: str = "error"
    balance: bool = False
    max_tokens: int | None = None


Check = Callable[[Any], bool]

CHECKS: dict[str, tuple[Check, str]] = {
    "columns": (lambda v: isinstance(v, dict), 'an object such as {"prompt": "question", "answer": "label"}'),
    "validation_split": (lambda v: _is_number(v) and 0 <= v < 1, "a number from 0 up to, but not including, 1"),
    "test_split": (lambda v: _is_number(v) and 0 <= v < 1, "a number from 0 up to, but not including, 1"),
    "seed": (lambda v: _is_integer(v) and 0 <= v < 2**63, "a whole number from 0 on"),
    "near_duplicates": (lambda v: v is None or (_is_number(v) and 0.5 <= v <= 1), "a number from 0.5 to 1, or null"),
    "leakage": (lambda v: v in ("error", "drop"), '"error" or "drop"'),
    "balance": (lambda v: isinstance(v, bool), "true or false"),
    "max_tokens": (lambda v: v is None or (_is_integer(v) and v >= 1), "a whole number from 1 on, or null"),
}


def load_settings(text: str) -> Settings:
    """Settings of the JSON given; raises InvalidInput with everything that is wrong."""
    values = load_json(text, "settings")
    problems = unknown_keys(values, [field.name for field in fields(Settings)], "settings")
    for name, value in values.items():
        if name in CHECKS and not CHECKS[name][0](value):
            problems.append(Problem(f"must be {CHECKS[name][1]}", field=f"settings.{name}"))
    columns = values.get("columns", {})
    if isinstance(columns, dict):
        problems += check_columns(columns)
    if problems:
        raise InvalidInput(*problems)
    settings = Settings(**{**values, "columns": Columns(**columns)})  # type: ignore[arg-type]
    if settings.validation_split + settings.test_split >= 1:
        raise InvalidInput(Problem("validation_split and test_split leave no row to train", field="settings"))
    return settings


def check_columns(columns: dict[str, object]) -> list[Problem]:
    """What is wrong with the column mapping."""
    where = "settings.columns"
    problems = unknown_keys(columns, [field.name for field in fields(Columns)], where)
    for part, column in columns.items():
        if not isinstance(column, str) or not column:
            problems.append(Problem("must be the name of a column", field=f"{where}.{part}"))
    if columns.keys() & {"answer", "system"} and "prompt" not in columns:
        problems.append(Problem("is needed beside answer and system", field=f"{where}.prompt"))
    if "prompt" in columns and "messages" in columns:
        problems.append(Problem("name either prompt or messages, not both", field=where))
    named = [column for column in columns.values() if isinstance(column, str)]
    if len(set(named)) < len(named):
        problems.append(Problem("two parts of a row name the same column", field=where))
    return problems


def unknown_keys(values: Mapping[str, object], known: Sequence[str], where: str) -> list[Problem]:
    """One problem a key that does not exist, with the likely meant one."""
    legal = f"there are {', '.join(known)}"
    return [
        Problem("is no setting", field=f"{where}.{key}", hint=did_you_mean(key, known) or legal)
        for key in values
        if key not in known
    ]


def did_you_mean(wrong: str, known: Sequence[str]) -> str | None:
    """`did you mean 'messages'?` where one of the known words is close."""
    close = closest(wrong, known)
    return f"did you mean {close!r}?" if close else None


def closest(word: str, others: Sequence[str]) -> str | None:
    """The one of `others` that `word` is probably a misspelling of, or that is one of `word`."""
    close = difflib.get_close_matches(word[:100], [other[:100] for other in others[:50]], n=1)
    return close[0] if close else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
