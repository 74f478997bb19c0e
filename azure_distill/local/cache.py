"""The step cache, which is also what resumes a run: what a step is made of, what came of it, and why it runs again.

A key is the hash of everything that decides a step's outputs, by content: never of a path, a time or a run.  The
outputs themselves stay in the runs that hold them; a hit gives them a second name in the new run, so that deleting the
old run takes nothing away.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azure_distill.assets.component import Component
from azure_distill.assets.snapshot import Snapshot
from azure_distill.backend import COMPLETED, FAILED
from azure_distill.local.files import read_json, remove_tree, try_lock, write_json
from azure_distill.local.manifest import Manifest
from azure_distill.local.paths import Home, StepPaths

FORMAT = 1
PLACES = 8  # runs that a record remembers as holding its outputs
COMPARED = 8  # of a step's latest forms; of several jobs' the nearest tells what has changed
DISTRIBUTIONS = (
    "torch", "transformers", "tokenizers", "datasets", "peft", "accelerate", "aiohttp", "numpy", "pyarrow", "gguf",
    "bitsandbytes", "sacrebleu", "rouge-score", "math-verify",
)  # fmt: skip
DISPLAY_FIELDS = frozenset({"description"})
LOCK_POLL = 0.1


class Stopped(Exception):
    """The run is to stop, found while waiting for another run that computes the same step."""


@dataclass(frozen=True)
class Parts:
    """What decides a step's outputs: JSON values only."""

    component: Mapping[str, Any]
    code: Mapping[str, str]
    environment: Mapping[str, str]
    literals: Mapping[str, str]
    data: Mapping[str, str]

    @property
    def key(self) -> str:
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def distance(self, before: Mapping[str, Any]) -> int:
        """In how many things an earlier step of the same name differs."""
        groups = (
            (self.code, "code"),
            (self.environment, "environment"),
            (self.literals, "literals"),
            (self.data, "data"),
        )
        different = sum(len(_different(now, before.get(label))) for now, label in groups)
        return different + (dict(self.component) != before.get("component"))

    def changes(self, before: Mapping[str, Any]) -> str | None:
        """What differs from an earlier step of the same name, in words; None when nothing does."""
        found = []
        if dict(self.component) != before.get("component"):
            found.append("component changed")
        for label, now in (("code", self.code), ("environment", self.environment)):
            if names := _changed(now, before.get(label)):
                found.append(f"{label} changed ({names})")
        if names := _changed(self.literals, before.get("literals")):
            found.append(f"{names} changed")
        if names := _changed(self.data, before.get("data")):
            found.append(f"input data changed ({names})")
        return "; ".join(found) or None


@dataclass(frozen=True)
class Hit:
    """Outputs that were found: `origin` is the run that computed them."""

    origin: str
    manifests: Mapping[str, Manifest]


def make_parts(component: Component, snapshot: Snapshot, literals: Mapping[str, str], data: Mapping[str, str]) -> Parts:
    described = {
        "inputs": {name: _plain(asdict(port)) for name, port in component.inputs.items()},
        "outputs": {name: _plain(asdict(port)) for name, port in component.outputs.items()},
        "command": component.command,
        "environment": component.environment,
        "environment_variables": dict(component.environment_variables),
    }
    return Parts(
        json.loads(json.dumps(described)), dict(snapshot.digests), dict(_environment()), dict(literals), dict(data)
    )


class StepCache:
    """Records of computed steps, below one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @contextlib.contextmanager
    def lock(self, key: str, stop: threading.Event) -> Iterator[None]:
        """Of runs that need the same step at once, one computes it and the others wait; raises Stopped."""
        while (descriptor := try_lock(self.home.locks / key)) is None:
            if stop.wait(LOCK_POLL):
                raise Stopped
        try:
            yield
        finally:
            os.close(descriptor)

    def restore(self, key: str, run: str, target: StepPaths) -> Hit | None:
        """Put the outputs of a computed step into a new run; None, and no record, when they are not as they were."""
        path = self.home.records / f"{key}.json"
        try:
            record = read_json(path)
            if record is None:
                path.unlink(missing_ok=True)
                return None
            manifests = {str(name): Manifest.from_json(value) for name, value in record["outputs"].items()}
            origin, step, places = (
                str(record["origin"]),
                str(record["step"]),
                [dict(place) for place in record["places"]],
            )
            for place in places:
                source = self.home.run(str(place["run"])).step(str(place["step"]))
                if all(manifest.stands(source.output(name)) for name, manifest in manifests.items()):
                    break
            else:
                path.unlink(missing_ok=True)
                return None
        except (KeyError, TypeError, ValueError, AttributeError):
            path.unlink(missing_ok=True)
            return None
        try:
            for name, manifest in manifests.items():
                manifest.link(source.output(name), target.output(name))
        except FileNotFoundError:  # the run that holds them is being removed
            for name in manifests:
                remove_tree(target.output(name))
            return None
        self._write(key, origin, step, [{"run": run, "step": target.folder.name}, *places], manifests)
        return Hit(origin, manifests)

    def store(self, key: str, run: str, step: str, manifests: Mapping[str, Manifest]) -> None:
        self._write(key, run, step, [{"run": run, "step": step}], manifests)

    def _write(
        self, key: str, origin: str, step: str, places: list[dict[str, Any]], manifests: Mapping[str, Manifest]
    ) -> None:
        outputs = {name: manifest.to_json() for name, manifest in manifests.items()}
        record = {"format": FORMAT, "origin": origin, "step": step, "places": places[:PLACES], "outputs": outputs}
        write_json(self.home.records / f"{key}.json", record)

    def reason(self, component: Component, step: str, parts: Parts) -> str:
        """Why a step runs that was not found: what differs from the nearest of its latest forms."""
        if not component.is_deterministic:
            return "not deterministic"
        forms = self._forms(component, step)
        if not forms:
            return "first run"
        last = min(forms, key=lambda form: parts.distance(form["parts"]))
        if changes := parts.changes(last["parts"]):
            return changes
        if last.get("status") == COMPLETED:
            return "its outputs are gone or were changed"
        return f"previous run {'failed' if last.get('status') == FAILED else 'was stopped'}"

    def remember(self, component: Component, step: str, parts: Parts, status: str) -> None:
        """Note what a step was made of, for the reason of its next run."""
        form = {"parts": asdict(parts), "status": status}
        others = [other for other in self._forms(component, step) if parts.distance(other["parts"])]
        write_json(self._last(component, step), {"forms": [form, *others[: COMPARED - 1]]})

    def _forms(self, component: Component, step: str) -> list[dict[str, Any]]:
        """What the step was made of lately, the latest first."""
        last = read_json(self._last(component, step)) or {}
        forms = last.get("forms")
        found = forms if isinstance(forms, list) else []
        return [form for form in found if isinstance(form, dict) and isinstance(form.get("parts"), dict)]

    def _last(self, component: Component, step: str) -> Path:
        return self.home.last_steps / f"{step}.{hashlib.sha256(component.name.encode()).hexdigest()[:12]}.json"


@functools.cache
def _environment() -> Mapping[str, str]:
    """The interpreter's version and those of the libraries that decide what a component computes."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _plain(port: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in port.items() if name not in DISPLAY_FIELDS}


def _changed(now: Mapping[str, str], before: object) -> str:
    """The names that differ, the first three of them."""
    names = _different(now, before)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _different(now: Mapping[str, str], before: object) -> list[str]:
    then = before if isinstance(before, dict) else {}
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
