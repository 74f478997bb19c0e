"""The JSON arguments of the component, checked before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from shared.errors import InvalidInput, Problem, load_json
from shared.scratch import Recipe

METHODS = ("response", "label_logits", "logits")
WEIGHTS = {"label_logits": 0.9, "logits": 0.5}
"""Share of a method alone in the loss; the text's cross-entropy has the rest."""

KINDS = ("forward_kl", "reverse_kl", "jsd")


@dataclass(frozen=True)
class Distillation:
    """What the student learns from: the teacher's text (`response`), its probabilities of labels (`label_logits`) or
    of tokens (`logits`).

    `shares` of the methods in the loss sum to 1.  `temperature` softens both distributions.  `ramp` is the part of the
    training during which the shares of the probabilities grow from 0.  `divergence` and `few_shot`, the solved rows
    that stood before the teacher's question, are for the `logits` of a hosted teacher.
    """

    shares: Mapping[str, float]
    temperature: float
    ramp: float = 0.0
    divergence: str = "forward_kl"
    few_shot: int = 0

    @property
    def method(self) -> str:
        return " + ".join(name for name in METHODS if name in self.shares and (name != "response" or self.only_text))

    @property
    def only_text(self) -> bool:
        return set(self.shares) == {"response"}

    def to_json(self) -> dict[str, object]:
        """As training.json tells it."""
        return {"method": self.method} | asdict(self)


@dataclass(frozen=True)
class Hyperparameters:
    """How long and how fast the student learns.

    `lora_rank` 0 trains the weights themselves.  `trained_layers` trains the last so many layers only, null all.
    `patience` stops after so many epochs without a better validation result, null never.  `checkpoint_minutes` lie
    between two checkpoints, with null there is one only when the run is asked to stop.

    `sharding` `full` cuts the weights up among the processes (FSDP) and `none` gives each a copy (DDP); null decides by
    size.  `quantization` `4bit` keeps frozen weights in four bits (QLoRA).  `target_modules` are the linear maps that
    get LoRA weights, null all; `keep_adapter` also saves these apart.  `keep_layers` cuts so many layers, evenly
    spaced, out of the pretrained model before it is trained.  `packing` feeds the rows of a batch as one sequence; null
    does so where attention gains by it (see `packing`).  `gradient_checkpointing` computes the layers a second time
    instead of keeping what they computed for the backward pass; null does so for large students on a GPU.
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
    sharding: str | None = None
    quantization: str | None = None
    target_modules: list[str] | None = None
    keep_adapter: bool = False
    keep_layers: int | None = None
    packing: bool | None = None
    gradient_checkpointing: bool | None = None


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
        good = isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < math.inf  # false of NaN
        if good and self.low <= value <= self.high and not (self.above and value == self.low):  # type: ignore[operator]
            return None
        return f"must be {self}, not {value!r}"

    def __str__(self) -> str:
        number = "a whole number" if self.kind is int else "a number"
        low = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        high = "" if self.high == math.inf else f" and at most {self.high:g}"
        return f"{number} {low}{high}" + (" or null" if self.optional else "")


@dataclass(frozen=True)
class OneOf:
    """One of these words, or null."""

    words: tuple[str, ...]

    def problem(self, value: object) -> str | None:
        return None if value is None or value in self.words else f"must be {' or '.join(self.words)}, not {value!r}"


@dataclass(frozen=True)
class Flag:
    """True or false, or null where the program may decide."""

    optional: bool = False

    def problem(self, value: object) -> str | None:
        if isinstance(value, bool) or (value is None and self.optional):
            return None
        return f"must be true{', false or null' if self.optional else ' or false'}, not {value!r}"


@dataclass(frozen=True)
class Names:
    """A list of names, or null."""

    def problem(self, value: object) -> str | None:
        good = isinstance(value, list) and value and all(isinstance(name, str) and name for name in value)
        return None if value is None or good else f"must be a list of names, not {value!r}"


Allowed = Mapping[str, Bounds | OneOf | Flag | Names]

MOST = 10**9
"""More than anybody wants of anything that is counted."""

HYPERPARAMETERS: Allowed = {
    "learning_rate": Bounds(float, 0, 1, above=True),
    "batch_size": Bounds(int, 1, MOST),
    "num_epochs": Bounds(int, 1, MOST),
    "max_length": Bounds(int, 8, MOST),
    "warmup_ratio": Bounds(float, 0, 1),
    "weight_decay": Bounds(float, 0, 1),
    "gradient_accumulation_steps": Bounds(int, 1, MOST),
    "lora_rank": Bounds(int, 0, 1024),
    "lora_alpha": Bounds(int, 1, MOST),
    "trained_layers": Bounds(int, 1, MOST, optional=True),
    "seed": Bounds(int, 0, 2**32 - 1),
    "patience": Bounds(int, 1, MOST, optional=True),
    "checkpoint_minutes": Bounds(float, 0, optional=True),
    "sharding": OneOf(("none", "full")),
    "quantization": OneOf(("4bit",)),
    "target_modules": Names(),
    "keep_adapter": Flag(),
    "keep_layers": Bounds(int, 1, MOST, optional=True),
    "packing": Flag(optional=True),
    "gradient_checkpointing": Flag(optional=True),
}
DISTILLATION: Allowed = {
    "temperature": Bounds(float, 0, 100, above=True),
    "weight": Bounds(float, 0, 1),
    "ramp": Bounds(float, 0, 1),
    "few_shot": Bounds(int, 0, MOST),
}


def parse_distillation(text: str) -> Distillation:
    """The `--distillation` argument; raises InvalidInput with every problem."""
    value: dict[str, Any] = load_json(text, "distillation")
    method, divergence = value.pop("method", "response"), value.pop("divergence", "forward_kl")
    problems = [*_problems(value, DISTILLATION, "distillation"), *_method_problems(method, "weight" in value)]
    if divergence not in KINDS:
        problems.append(Problem(f"{divergence!r} is none of {', '.join(KINDS)}", field="distillation.divergence"))
    if problems:
        raise InvalidInput(*problems)
    shares = _shares(method, value.pop("weight", None))
    temperature = value.pop("temperature", 2.0 if "label_logits" in shares else 1.0)
    return Distillation(shares, temperature, divergence=divergence, **value)


def _method_problems(method: object, weighted: bool) -> list[Problem]:
    """What is wrong with the name of a method, or with the shares of several."""
    field = "distillation.method"
    if isinstance(method, dict) and weighted:
        return [Problem("is for one method; the shares of several stand in method", field="distillation.weight")]
    share = Bounds(float, 0, above=True)
    if not isinstance(method, dict | str):
        return [Problem("must be a method, or shares of several", field=field)]
    shares = method if isinstance(method, dict) else {method: 1.0}
    problems = [
        Problem(f"{name!r} is none of {', '.join(METHODS)}", field=field) for name in shares if name not in METHODS
    ]
    problems += [
        Problem(wrong, field=f"{field}.{name}") for name, value in shares.items() if (wrong := share.problem(value))
    ]
    return problems if shares else [Problem("names no method", field=field)]


def _shares(method: str | dict[str, float], weight: float | None) -> dict[str, float]:
    """Shares that sum to 1, of one method and the text or as they are given."""
    if isinstance(method, dict):
        return {name: value / sum(method.values()) for name, value in method.items()}
    if method == "response":
        return {method: 1.0}
    weight = WEIGHTS[method] if weight is None else weight
    return {"response": 1 - weight, method: weight}


def parse_hyperparameters(text: str, *, from_scratch: bool) -> Hyperparameters:
    """The `--hyperparameters` argument on top of the defaults for this kind of student."""
    value: dict[str, Any] = load_json(text, "hyperparameters")
    problems = _problems(value, HYPERPARAMETERS, "hyperparameters")
    if from_scratch:
        problems += [
            Problem("needs pretrained weights", field=f"hyperparameters.{name}")
            for name in ("lora_rank", "trained_layers", "quantization", "target_modules", "keep_adapter", "keep_layers")
            if value.get(name)
        ]
    if problems:
        raise InvalidInput(*problems)
    defaults = SCRATCH if from_scratch else FULL if value.get("lora_rank") == 0 else LORA
    chosen = replace(defaults, **value)
    if not chosen.lora_rank:
        problems = [
            Problem("needs lora_rank above 0", field=f"hyperparameters.{name}")
            for name in ("quantization", "target_modules", "keep_adapter")
            if value.get(name)
        ]
    if chosen.keep_adapter and chosen.keep_layers:  # its layers' numbers would be taken for the whole model's
        problems.append(Problem("does not go with keep_layers", field="hyperparameters.keep_adapter"))
    if chosen.quantization and chosen.sharding == "full":
        problems.append(Problem("does not go with quantization: 4bit", field="hyperparameters.sharding"))
    if problems:
        raise InvalidInput(*problems)
    return replace(chosen, lora_alpha=chosen.lora_alpha or 2 * chosen.lora_rank)


def parse_recipe(text: str) -> Recipe:
    """The `--recipe` argument; sizes not given are those of the default recipe."""
    value: dict[str, Any] = load_json(text, "recipe")
    unknown = value.keys() - {field.name for field in fields(Recipe)}
    if unknown:
        raise InvalidInput(*(Problem("is no setting", field=f"recipe.{name}") for name in sorted(unknown)))
    return Recipe(**value)


def _problems(value: Mapping[str, object], allowed: Allowed, where: str) -> list[Problem]:
    hint = f"the settings are {', '.join(allowed)}"
    problems = [Problem("is no setting", field=f"{where}.{name}", hint=hint) for name in value if name not in allowed]
    for name, bounds in allowed.items():
        wrong = bounds.problem(value[name]) if name in value else None
        if wrong:
            problems.append(Problem(wrong, field=f"{where}.{name}"))
    return problems
