"""An endpoint's words are told to the user, and a row's are not, however they are quoted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher_inference.quotation import quotes, repeats
from teacher_inference.teacher import Question

ROW = 'Dear sir,\nmy number is 123-45-6789 and my word is "Zürich", yours Ann'


def asked(*texts: str) -> Question:
    return Question([{"role": "user", "content": text} for text in texts])


@pytest.mark.parametrize(
    "said",
    [
        "cannot take 'my number is'",
        "bad input: 789",
        'unexpected: my word is \\"Zürich\\"',
        json.dumps(f"at: {ROW}"),
        "MY WORD IS",
        "dear sir, my number",
    ],
)
def test_a_part_of_the_row_is_found(said: str) -> None:
    assert repeats(said, asked("You classify.", ROW))


@pytest.mark.parametrize(
    "said", ["'temperature' must be 1", "The API deployment for this resource does not exist.", "no", ""]
)
def test_other_words_are_told(said: str) -> None:
    assert not repeats(said, asked("You classify.", ROW))


def test_a_row_of_one_short_word_is_found_whole() -> None:
    assert repeats("cannot take 'Ann'", asked("Ann"))


@given(st.text(min_size=24, max_size=60), st.integers(0, 30), st.integers(24, 60), st.text(max_size=9))
def test_what_quotes_also_repeats(text: str, start: int, length: int, around: str) -> None:
    part = text[start : start + length]
    said = around + part + around
    if quotes(said, asked(text)):
        assert part in text
    if len(" ".join(part.lower().split()).replace("\\", "")) >= 24 and "\\" not in text:
        assert repeats(said, asked(text))
