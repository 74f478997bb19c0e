"""Which model a folder holds: equal exactly when its weights, its tokenizer and its generation settings are equal."""

from __future__ import annotations

import hashlib
from pathlib import Path

WEIGHTS = (".safetensors", ".bin")
SETTINGS = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)


def fingerprint(folder: Path) -> str:
    """sha256 over the whole content of all files that change an answer.

    The weights are read whole (about a second a gigabyte, less than loading them): two tunings of one base differ in
    nothing but the numbers.  Notes such as `training.json`, and the folder's place, do not count.
    """
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in WEIGHTS or path.name in SETTINGS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.name}\0{digest}\n".encode())
    return total.hexdigest()
