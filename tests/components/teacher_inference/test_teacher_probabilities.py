from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher_inference.probabilities import (
    Unknown,
    answer_probabilities,
    answer_tokens,
    candidate_logprobs,
    matching,
    normalised,
)
from teacher_inference.teacher import Answer, TokenLogprobs

TOPICS = ("sport", "politics", "tech")


def position(chosen: str, **shares: float) -> TokenLogprobs:
    """One token's list; `_` in a name is a space."""
    listed = [(name.replace("_", " "), math.log(share)) for name, share in shares.items()]
    return chosen.replace("_", " "), listed


def probabilities(tokens: list[TokenLogprobs], candidates: tuple[str, ...]) -> dict[str, float]:
    found = normalised(candidate_logprobs(tokens, candidates))
    return {name: math.exp(value) for name, value in found.items()}


def test_variants_of_a_label_add_up() -> None:
    """The collision that made 28 % of the labels wrong when the last variant overwrote the others."""
    tokens = [position("_politics", _politics=0.4, sport=0.3, politics=0.05, Politics=0.05, _pol=0.1, tech=0.1)]
    assert probabilities(tokens, TOPICS) == pytest.approx({"politics": 0.6, "sport": 0.3, "tech": 0.1})


def test_tokens_that_are_no_label_do_not_count() -> None:
    tokens = [position("sport", sport=0.4, The=0.4, tech=0.1, politics=0.1)]
    assert probabilities(tokens, TOPICS)["sport"] == pytest.approx(4 / 6)


def test_a_label_that_is_not_listed_gets_the_bound() -> None:
    tokens = [position("sport", sport=0.9, politics=0.07, x=0.01)]
    assert probabilities(tokens, TOPICS)["tech"] == pytest.approx(0.01 / 0.98)


def test_the_bound_is_no_more_than_the_listed_tokens_leave() -> None:
    tokens = [position("sport", sport=0.6, politics=0.4)]
    assert probabilities(tokens, TOPICS) == pytest.approx({"sport": 0.6, "politics": 0.4, "tech": 0}, abs=1e-5)
    tokens = [position("sport", sport=0.99)]
    assert probabilities(tokens, TOPICS) == pytest.approx({"sport": 0.98, "politics": 0.01, "tech": 0.01}, abs=1e-3)


def test_where_next_to_nothing_is_listed_nothing_is_known() -> None:
    with pytest.raises(Unknown, match="too few tokens are listed"):
        probabilities([position("sport", sport=0.6)], TOPICS)


def test_the_next_token_decides_between_labels_that_begin_alike() -> None:
    labels = ("very good", "very bad", "fine")
    tokens = [position("very", very=0.8, fine=0.2), position("_bad", _good=0.25, _bad=0.75)]
    assert probabilities(tokens, labels) == pytest.approx({"very good": 0.2, "very bad": 0.6, "fine": 0.2})


def test_blanks_before_the_label_are_passed_over() -> None:
    tokens = [position("\n", **{"\n": 0.9, "tech": 0.1}), position("sport", sport=0.8, politics=0.2)]
    found = probabilities(tokens, TOPICS)
    assert found["sport"] > found["politics"] > found["tech"]


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([position("fine", fine=0.6, very=0.4)], "share their first token"),
        ([position("very", very=0.9, fine=0.1)], "share their first token"),
        ([position("The", The=0.9, fine=0.1)], "does not begin with a label"),
    ],
    ids=["another token leaves two open", "the answer ends undecided", "chatter first"],
)
def test_what_is_not_known_is_not_guessed(tokens: list[TokenLogprobs], reason: str) -> None:
    with pytest.raises(Unknown, match=reason):
        candidate_logprobs(tokens, ("very good", "very bad", "fine"))


def test_a_negligible_doubt_is_none() -> None:
    tokens = [position("fine", fine=0.9, v=1e-6)]
    assert probabilities(tokens, ("very good", "very bad", "fine"))["fine"] > 0.999


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Sport", ["sport"]),
        ("sport.", ["sport"]),
        ("s", ["sport", "spare"]),
        ("sports", []),
        ("A", ["A"]),
        ("a", []),
        (" A)", ["A"]),
        ("Answer", []),
        ("", []),
    ],
)
def test_what_a_text_may_become(text: str, expected: list[str]) -> None:
    assert matching(text, ("sport", "spare", "A", "B")) == expected


def test_a_label_within_a_label_waits_for_the_next_token() -> None:
    labels = ("good", "goodish")
    assert matching("good", labels) == ["good", "goodish"]
    assert matching("good.", labels) == ["good"]


@given(st.permutations(TOPICS), st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.floats(0, 0.9))
def test_any_split_of_the_mass_over_variants_gives_the_same(
    order: list[str], weights: list[float], rest: float
) -> None:
    """P(label) is what the labels have, however it is spread over spellings and whatever else is listed."""
    shares = {name: weight / sum(weights) * (1 - rest) for name, weight in zip(order, weights, strict=True)}
    listed = [(f" {name}", math.log(share * 0.7)) for name, share in shares.items()]
    listed += [(name[:2].upper(), math.log(share * 0.3)) for name, share in shares.items()]
    listed += [("Well", math.log(rest))] if rest else []
    chosen = max(shares, key=lambda name: shares[name])
    found = probabilities([(f" {chosen}", listed)], TOPICS)
    assert found == pytest.approx({name: share / (1 - rest) for name, share in shares.items()})


def test_the_likeliest_label_must_be_the_answer() -> None:
    answer = Answer("tech", label_logprobs={"sport": -1.0, "tech": -0.5})
    assert answer_probabilities(answer, "tech", ("sport", "tech"))["tech"] == pytest.approx(-0.4741, abs=1e-4)
    with pytest.raises(Unknown, match="likelier"):
        answer_probabilities(answer, "sport", ("sport", "tech"))
    with pytest.raises(Unknown, match="none given"):
        answer_probabilities(Answer("tech"), "tech", ("sport", "tech"))


def listed(*tokens: str, odd: dict[str, list[int]] | None = None) -> Answer:
    """An answer of these tokens, each likely, with one alternative."""
    return Answer("", top_logprobs=[(token, [(token, -0.1), ("other", -3.0)]) for token in tokens], token_bytes=odd)


def test_tokens_of_an_answer_are_told_with_their_alternatives() -> None:
    assert answer_tokens(listed("Good", " day"), "Good day") == [
        {"token": "Good", "logprob": -0.1, "top": [["Good", -0.1], ["other", -3.0]]},
        {"token": " day", "logprob": -0.1, "top": [[" day", -0.1], ["other", -3.0]]},
    ]


def test_blanks_around_an_answer_and_ends_of_a_turn_are_left_out() -> None:
    for tokens in (["\n", " Good", " day"], ["Good", " day", "<|im_end|>"], ["Good", " day", " \n", "</s>"]):
        assert "".join(token["token"] for token in answer_tokens(listed(*tokens), "Good day")).strip() == "Good day"


def test_parts_of_a_character_have_their_bytes() -> None:
    answer = listed("\\xf0\\x9f", "\\x98\\x80", "!", odd={"0": [0xF0, 0x9F], "1": [0x98, 0x80]})
    assert [token.get("bytes") for token in answer_tokens(answer, "😀!")] == [[0xF0, 0x9F], [0x98, 0x80], None]


def test_tokens_of_something_else_are_not_passed_off_as_the_answers() -> None:
    with pytest.raises(Unknown, match="not what the tokens say"):
        answer_tokens(listed("Sport", "."), "sport")
    with pytest.raises(Unknown, match="none given"):
        answer_tokens(Answer("x"), "x")


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=12))
def test_any_tokens_spell_their_answer(tokens: list[str]) -> None:
    text = "".join(tokens).strip()
    if not text:
        return
    told = answer_tokens(listed(*tokens), text)
    assert "".join(token["token"] for token in told).strip() == text
    assert all(token["logprob"] == -0.1 for token in told)
