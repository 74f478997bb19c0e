"""An endpoint's tokens on the student's: which positions align, and when the two do not go together."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shared.chat import end_ids
from shared.errors import InvalidInput
from shared.scratch import train_tokenizer
from student_finetune.align import Aligner, Listed
from student_finetune.losses import ABSENT

TOKENIZER = train_tokenizer(["the cat sat on the mat", "a dog sat, too"] * 20, 320)
END = end_ids(TOKENIZER)
ANSWER = "the cat sat on the mat"


def ids(answer: str) -> list[int]:
    found: list[int] = TOKENIZER(answer, add_special_tokens=False)["input_ids"]
    return found + END


def listed(token: str, logprob: float = -0.5, **others: float) -> dict[str, Any]:
    top = [[token, logprob], *([text.replace("_", " "), value] for text, value in others.items())]
    return {"token": token, "logprob": logprob, "top": top}


def own_tokens(answer: str) -> list[str]:
    return [str(TOKENIZER.decode([number])) for number in ids(answer)[:-1]]


def known(found: Listed | None, place: int) -> dict[str, Any]:
    """What is listed at a place, by the tokens' texts."""
    assert found is not None
    pairs = zip(found.ids[place].tolist(), found.logprobs[place].tolist(), strict=True)
    return {str(TOKENIZER.decode([number])): pytest.approx(value) for number, value in pairs if value > ABSENT}


def test_the_students_own_tokens_all_align() -> None:
    aligner = Aligner(TOKENIZER)
    tokens = [listed(token, -0.5, _dog=-2.0) for token in own_tokens(ANSWER)]
    found = aligner.align(ANSWER, ids(ANSWER), tokens)
    assert aligner.coverage == 1.0
    for place, token in enumerate(own_tokens(ANSWER)):
        expected = {token: -0.5} | {text: -2.0 for text in [" dog"] if text in aligner.ids}
        assert known(found, place) == expected
    assert known(found, len(tokens)) == {}  # nothing was listed for the end of the turn


def test_where_the_cuts_differ_the_text_is_learnt() -> None:
    aligner = Aligner(TOKENIZER)
    tokens = own_tokens(ANSWER)
    joined = [tokens[0] + tokens[1], *tokens[2:]]
    found = aligner.align(ANSWER, ids(ANSWER), [listed(token) for token in joined])
    assert [bool(known(found, place)) for place in range(len(tokens))] == [False, False, *[True] * (len(tokens) - 2)]
    assert aligner.coverage == pytest.approx(1 - 2 / len(tokens))


def test_white_space_around_the_answer_is_no_part_of_it() -> None:
    tokens = ["\n\n", *own_tokens(ANSWER), " "]
    aligner = Aligner(TOKENIZER)
    aligner.align(ANSWER, ids(ANSWER), [listed(token) for token in tokens])
    assert aligner.coverage == 1.0


@pytest.mark.parametrize("end", ["<|end|>", ""])
def test_an_end_of_turn_that_is_listed_is_taught(end: str) -> None:
    aligner = Aligner(TOKENIZER)
    tokens = [listed(token) for token in own_tokens(ANSWER)] + [listed(end, -0.1)]
    assert known(aligner.align(ANSWER, ids(ANSWER), tokens), len(tokens) - 1) == {"<|end|>": -0.1}


def test_a_listed_token_that_the_student_lacks_stays_in_the_tail_if_it_is_unlikely() -> None:
    aligner = Aligner(TOKENIZER)
    tokens = [listed(token, math.log(0.9), unheard=math.log(0.04)) for token in own_tokens(ANSWER)]
    assert set(known(aligner.align(ANSWER, ids(ANSWER), tokens), 0)) == {tokens[0]["token"]}
    tokens = [listed(token, math.log(0.8), unheard=math.log(0.06)) for token in own_tokens(ANSWER)]
    assert aligner.align(ANSWER, ids(ANSWER), tokens) is None


def test_a_chosen_token_that_is_not_among_the_likeliest_is_listed_too() -> None:
    token = own_tokens(ANSWER)[0]
    drawn = {"token": token, "logprob": -4.0, "top": [["a", -0.1]]}
    rest = [listed(text) for text in own_tokens(ANSWER)[1:]]
    assert known(Aligner(TOKENIZER).align(ANSWER, ids(ANSWER), [drawn, *rest]), 0) == {token: -4.0, "a": -0.1}


def test_characters_of_several_tokens_hinder_none_of_the_others() -> None:
    answer = "the cat ☃ sat"
    own = ids(answer)[:-1]
    whole = [number for number in own if "\ufffd" not in str(TOKENIZER.decode([number]))]
    assert len(whole) < len(own)  # the snow man has three bytes, and no token of his own
    snow = [listed("\ufffd") | {"bytes": [byte]} for byte in "☃".encode()]
    words = [listed(str(TOKENIZER.decode([number]))) for number in whole]
    before = answer[: answer.index("☃")]
    place = next(n for n in range(len(words)) if "".join(word["token"] for word in words[:n]) == before)
    aligner = Aligner(TOKENIZER)
    aligner.align(answer, ids(answer), [*words[:place], *snow, *words[place:]])
    assert (aligner.tokens, aligner.taught) == (len(own), len(whole))


def test_tokenizers_that_disagree_are_refused_with_the_reason() -> None:
    other = train_tokenizer(["quite another text, of other words"] * 20, 290)
    aligner = Aligner(TOKENIZER)
    tokens = [str(other.decode([number])) for number in other(ANSWER, add_special_tokens=False)["input_ids"]]
    assert "".join(tokens) == ANSWER
    aligner.align(ANSWER, ids(ANSWER), [listed(token) for token in tokens])
    with pytest.raises(InvalidInput, match=r"write in different tokens: \d+\.\d% of the answers' \d+ tokens.*response"):
        aligner.check("rows.jsonl")


def test_the_coverage_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    aligner = Aligner(TOKENIZER)
    aligner.check("rows.jsonl")
    assert capsys.readouterr().out == ""
    aligner.align(ANSWER, ids(ANSWER), [listed(token) for token in own_tokens(ANSWER)])
    aligner.check("rows.jsonl")
    assert capsys.readouterr().out.startswith("100.0% of the answers'")


def test_a_row_without_log_probabilities_says_nothing_of_the_tokenizers() -> None:
    """It is learnt as text; a third of such rows once passed for tokenizers that differ."""
    aligner = Aligner(TOKENIZER)
    for number in range(9):
        tokens = [] if number % 3 == 0 else [listed(token) for token in own_tokens(ANSWER)]
        assert (aligner.align(ANSWER, ids(ANSWER), tokens) is None) == (not tokens)
    assert aligner.coverage == 1.0


def test_log_probabilities_are_of_probabilities_between_0_and_1() -> None:
    tokens = [listed(token, 0.004, _dog=-math.inf) for token in own_tokens(ANSWER)]
    found = Aligner(TOKENIZER).align(ANSWER, ids(ANSWER), tokens)
    for place, token in enumerate(own_tokens(ANSWER)):
        assert known(found, place) == {token: 0.0}
