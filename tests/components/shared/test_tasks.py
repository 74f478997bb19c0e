"""Answers out of teachers' texts."""

from __future__ import annotations

import json

import pytest

from shared.tasks import Rejected, load_task
from shared.tasks.base import find_label, parse_reasoned


@pytest.mark.parametrize(
    ("text", "candidates", "label"),
    [
        ("U.S.", ["U.S.", "U.K."], "U.S."),
        ("u.s", ["U.S.", "U.K."], "U.S."),
        ("It is the U.K.", ["U.S.", "U.K."], "U.K."),
        ("Yes!", ["Yes!", "No!"], "Yes!"),
        ("yes.", ["Yes!", "No!"], "Yes!"),
        ("yes!", ["yes", "yes!"], "yes!"),
        ("yes.", ["yes!", "yes"], "yes"),
        ("Sport.", ["sport", "politics"], "sport"),
        ("sport or politics", ["sport", "politics"], None),
        ("...", ["!", "sport"], None),
        ("", ["sport"], None),
    ],
)
def test_a_label_in_a_text(text: str, candidates: list[str], label: str | None) -> None:
    assert find_label(text, candidates) == label


@pytest.mark.parametrize("answer", ["42", 42, 4.5, True])
def test_a_reasoned_answer_is_text_or_number(answer: object) -> None:
    text = json.dumps({"reason": "because", "answer": answer})
    assert parse_reasoned(f"```json\n{text}\n```") == ("because", str(answer))


@pytest.mark.parametrize("answer", [None, {"text": "hi"}, ["a"]])
def test_a_reasoned_answer_is_not_made_up(answer: object) -> None:
    with pytest.raises(Rejected, match="the answer is no text"):
        parse_reasoned(json.dumps({"reason": "because", "answer": answer}))


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 3000 + "}", "{", "no object"])
def test_a_text_that_goes_on_and_on_is_rejected(text: str) -> None:
    task = load_task('{"type": "conversation", "chain_of_thought": true}')
    with pytest.raises(Rejected, match="unparsable"):
        task.extract(text)
