"""A step's command line: what stands for inputs and outputs is put in, optional parts are kept or left out."""

from __future__ import annotations

import re
from collections.abc import Mapping

REFERENCE = re.compile(r"\$\{\{\s*(inputs|outputs)\.([^}\s.]+)(?:\.path)?\s*\}\}")
OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)


def render(command: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """The command with `${{ }}` replaced and each `$[[ ]]` kept only where every input in it is set.

    Raises KeyError for a reference to something unset.
    """
    values = {"inputs": inputs, "outputs": outputs}

    def replace(match: re.Match[str]) -> str:
        return values[match[1]][match[2]]

    def keep(match: re.Match[str]) -> str:
        inside = match[1]
        return inside if all(name in values[kind] for kind, name in REFERENCE.findall(inside)) else ""

    return REFERENCE.sub(replace, OPTIONAL.sub(keep, command))
