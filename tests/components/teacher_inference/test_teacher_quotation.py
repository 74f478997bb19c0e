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


plain = st.characters(exclude_characters="\\", exclude_categories=["Z", "C"])


@given(st.text(plain, min_size=24, max_size=60), st.integers(0, 30), st.text(max_size=9))
def test_two_pieces_length_of_a_row_are_found_anywhere(text: str, start: int, around: str) -> None:
    said = around + text[min(start, len(text) - 24) :][:24] + around
    assert quotes(said, asked(text))
    assert repeats(said, asked(text))
