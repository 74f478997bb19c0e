"""The quick JSON says what the standard library's says, of anything that a user or a server may send."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fast_json import decode, encode

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs among them
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner), max_leaves=12)
ODD = ["NaN", "-Infinity", "1e999", '"\\ud800"', '{"a": NaN, "b": "\\udc00 é"}', "\ufeff{}", f"{2**70}", "-0.0"]


def outcome(parse: Any, text: bytes) -> str:
    """The value of a text, told so that -0.0, 1 and 1.0 differ; or that there is none."""
    try:
        return repr(parse(text))
    except (ValueError, RecursionError):
        return "no JSON"


@given(VALUES)
def test_what_is_written_is_read_by_both(value: Any) -> None:
    line = encode(value)
    assert b"\n" not in line
    assert repr(decode(line)) == repr(json.loads(line)) == repr(value)


@given(VALUES, st.booleans())
def test_what_the_standard_library_writes_is_read(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert outcome(decode, text) == outcome(json.loads, text)


@given(st.binary(max_size=40) | st.text('0123456789.eE+-[]{}":, tfnu\\a', max_size=12).map(str.encode))
def test_rubbish_is_rubbish_to_both(text: bytes) -> None:
    assert outcome(decode, text) == outcome(json.loads, text)


@pytest.mark.parametrize("text", ODD)
def test_what_the_standard_does_not_know_is_read_all_the_same(text: str) -> None:
    assert outcome(decode, text.encode()) == outcome(json.loads, text.encode()) != "no JSON"


def test_too_deep_is_an_error_of_its_own() -> None:
    with pytest.raises(RecursionError):
        decode(b"[" * 100_000 + b"]" * 100_000)


def test_what_is_no_number_is_written_as_none() -> None:
    assert encode([math.nan, math.inf]) == b"[null,null]"
