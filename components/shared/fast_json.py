"""JSON of rows, requests and answers, several times as fast as the standard library reads and writes it.

It is msgspec's, and the standard library steps in for what users and servers send though JSON does not know it: NaN,
infinities, halves of a surrogate pair, a byte order mark.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def decode(text: bytes | str) -> Any:
    """The value of a JSON text; raises ValueError, or RecursionError where it is nested too deeply."""
    try:
        return _decode(text)
    except ValueError:
        return json.loads(text)


def encode(value: Any) -> bytes:
    """One line of JSON without its end.  What is no number, NaN or an infinity, is written as null."""
    try:
        return _encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot hold
        return json.dumps(value, separators=(",", ":")).encode("ascii")
