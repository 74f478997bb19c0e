"""The JSON arguments of the component, checked before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from shared.errors import InvalidInput, Problem, load_json
from shared.scratch import Recipe

METHODS = ("response", "label_logits")


@dataclass(frozen=True)
class Distillation:
    """What the student learns from: the teacher's text (`response`) or also its probabilities (`label_logits`).

    `weight` is the share of the probabilities in the loss, `temperature` softens both distributions.
    """

    method: str = "response"
    temperature: float = 2.0
    weight: float = 0.9


@dataclass(frozen=True)
class Hyperparameters:
    """How long and how fast the student learns.

    `lora_rank` 0 trains the weights themselves.  `trained_layers` trains the last so many layers only, null all.
    `patience` stops after so many epochs without a better validation result, null never.  `checkpoint_minutes` lie
    between two checkpoints, with null there is one only when the run is asked to stop.
    """

    learning_rate: float
    batch_size: int
    num_epochs: int
    max_length: int = 1024
    warmup_ratio: float = 0.05
    weight_decay: float = 0.0
    gradient_accumulation_steps: int = 1
    lora_rank: int = 0
    lora_alpha: int = 0
    trained_layers: int | None = None
    seed: int = 0
    patience: int | None = None
    checkpoint_minutes: float | None = 10.0


SCRATCH = Hyperparameters(learning_rate=2e-3, batch_size=16, num_epochs=12, weight_decay=0.05)
LORA = Hyperparameters(learning_rate=2e-4, batch_size=8, num_epochs=3, lora_rank=16)
FULL = Hyperparameters(learning_rate=2e-5, batch_size=8, num_epochs=3, weight_decay=0.01)


@dataclass(frozen=True)
class Bounds:
    """Which values a setting may have: numbers in [low, high], or above `low` only where `above` is set."""

    kind: type[int] | type[float]
    low: float
    high: float = math.inf
    above: bool = False
    optional: bool = False

    def problem(self, value: object) -> str | None:
        if value is None and self.optional:
            return None
        kinds = (int,) if self.kind is int else (int, float)
        good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
        if good and self.low <= value <= self.high and not (self.above and value == self.low):  # type: ignore[operator]
            return None
        return f"must be {self}, not {value!r}"

    def __str__(self) -> str:
        number = "a whole number" if self.kind is int else "a number"
        low = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        high = "" if self.high == math.inf else f" and at most {self.high:g}"
        return f"{number} {low}{high}" + (" or null" if self.optional else "")


HYPERPARAMETERS: Mapping[str, Bounds] = {
    "learning_rate": Bounds(float, 0, 1, above=True),
    "batch_size": Bounds(int, 1),
    "num_epochs": Bounds(int, 1),
    "max_length": Bounds(int, 8),
    "warmup_ratio": Bounds(float, 0, 1),
    "weight_decay": Bounds(float, 0, 1),
    "gradient_accumulation_steps": Bounds(int, 1),
    "lora_rank": Bounds(int, 0, 1024),
    "lora_alpha": Bounds(int, 1),
    "trained_layers": Bounds(int, 1, optional=True),
    "seed": Bounds(int, 0, 2**32 - 1),
    "patience": Bounds(int, 1, optional=True),
    "checkpoint_minutes": Bounds(float, 0, optional=True),
}
DISTILLATION: Mapping[str, Bounds] = {
    "temperature": Bounds(float, 0, 100, above=True),
    "weight": Bounds(float, 0, 1),
}


def parse_distillation(text: str) -> Distillation:
    """The `--distillation` argument; raises InvalidInput with every problem."""
    value = load_json(text, "distillation")
    method = value.pop("method", Distillation.method)
    problems = _problems(value, DISTILLATION, "distillation")
    if method not in METHODS:
        problems.append(Problem(f"{method!r} is none of {', '.join(METHODS)}", field="distillation.method"))
    if problems:
        raise InvalidInput(*problems)
    return Distillation(str(method), **value)  # type: ignore[arg-type]


def parse_hyperparameters(text: str, *, from_scratch: bool) -> Hyperparameters:
    """The `--hyperparameters` argument on top of the defaults for this kind of student."""
    value: dict[str, Any] = load_json(text, "hyperparameters")
    problems = _problems(value, HYPERPARAMETERS, "hyperparameters")
    if from_scratch:
        problems += [
            Problem("needs pretrained weights", field=f"hyperparameters.{name}")
            for name in ("lora_rank", "trained_layers")
            if value.get(name)
        ]
    if problems:
        raise InvalidInput(*problems)
    defaults = SCRATCH if from_scratch else FULL if value.get("lora_rank") == 0 else LORA
    chosen = replace(defaults, **value)
    return replace(chosen, lora_alpha=chosen.lora_alpha or 2 * chosen.lora_rank)


def parse_recipe(text: str) -> Recipe:
    """The `--recipe` argument; sizes not given are those of the default recipe."""
    value: dict[str, Any] = load_json(text, "recipe")
    unknown = value.keys() - {field.name for field in fields(Recipe)}
    if unknown:
        raise InvalidInput(*(Problem("is no setting", field=f"recipe.{name}") for name in sorted(unknown)))
    return Recipe(**value)


def _problems(value: Mapping[str, object], allowed: Mapping[str, Bounds], where: str) -> list[Problem]:
    hint = f"the settings are {', '.join(allowed)}"
    problems = [Problem("is no setting", field=f"{where}.{name}", hint=hint) for name in value if name not in allowed]
    for name, bounds in allowed.items():
        wrong = bounds.problem(value[name]) if name in value else None
        if wrong:
            problems.append(Problem(wrong, field=f"{where}.{name}"))
    return problems
