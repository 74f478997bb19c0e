"""The known GPU machines of Azure, read from skus.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

GPU_FAMILY = re.compile(r"standard_n[a-z]", re.IGNORECASE)  # Azure names all its machines with GPUs so: NC, ND, NV


@cache
def machines() -> Mapping[str, Mapping[str, Any]]:
    """What skus.yaml says, by the machine's name in small letters: Azure itself is not of one mind about capitals."""
    entries = yaml.safe_load(Path(__file__).with_name("skus.yaml").read_text(encoding="utf-8"))
    return {name.lower(): entry for name, entry in entries.items()}


def gpus(machine: str) -> int | None:
    """How many GPUs a machine has; None where it has some and the catalog does not know how many."""
    known = machines().get(machine.lower())
    if known:
        return int(known["gpus"])
    return None if GPU_FAMILY.match(machine) else 0
