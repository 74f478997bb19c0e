"""The search for near duplicates against comparing every pair, and what counts as alike."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare_data import near
from prepare_data.near import NearDuplicates
from prepare_data.shingles import Shingles, shingles, words


def sets_of(texts: list[str]) -> Shingles:
    sets = Shingles()
    for text in texts:
        sets.add(text)
    return sets


def found(texts: list[str], threshold: float) -> dict[tuple[int, int], float]:
    pairs = NearDuplicates(sets_of(texts), threshold)
    kept = np.ones(len(texts), np.bool_)
    return {(row, other): round(alike, 9) for row, matches in pairs.repeats(kept) for other, alike in matches}


def plain_shingles(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[k : k + 3]) for k in range(max(1, len(found) - 2))} if found else set()


def brute_force(texts: list[str], threshold: float) -> dict[tuple[int, int], float]:
    sets = [plain_shingles(text) for text in texts]
    pairs = {}
    for row, one in enumerate(sets):
        for other in range(row):
            if one | sets[other]:
                pairs[row, other] = round(len(one & sets[other]) / len(one | sets[other]), 9)
    return {pair: alike for pair, alike in pairs.items() if alike >= threshold - 1e-9}


texts = st.lists(st.lists(st.sampled_from("abcdef"), max_size=25).map(" ".join), max_size=12)


@given(texts, st.sampled_from([0.5, 0.6, 0.75, 0.9, 1.0]))
def test_all_pairs_of_small_texts_are_those_of_brute_force(texts: list[str], threshold: float) -> None:
    assert found(texts, threshold) == brute_force(texts, threshold)


@pytest.mark.parametrize("threshold", [0.7, 0.9])
def test_all_pairs_of_edited_texts_are_those_of_brute_force(threshold: float) -> None:
    """Texts of very different lengths with up to four words changed, so that similarities lie all around."""
    draw = random.Random(3)
    texts: list[str] = []
    for _ in range(60):
        text = [str(draw.randrange(400)) for _ in range(draw.randrange(3, 250))]
        for _ in range(5):
            edited = list(text)
            for _ in range(draw.randrange(5)):
                edited[draw.randrange(len(edited))] = str(draw.randrange(400))
            texts.append(" ".join(edited))
    expected = brute_force(texts, threshold)
    assert 50 < len(expected) < 600
    assert found(texts, threshold) == expected


def test_a_dropped_row_is_nobodys_match() -> None:
    texts = ["a b c d e f g h"] * 3
    kept = np.ones(3, np.bool_)
    seen = []
    for row, matches in NearDuplicates(sets_of(texts), 0.9).repeats(kept):
        seen.append((row, [other for other, _ in matches]))
        kept[row] = False
    assert seen == [(1, [0]), (2, [0])]


def test_an_instruction_in_every_row_does_not_make_rows_alike() -> None:
    draw = random.Random(5)
    instruction = " ".join(f"word{k}" for k in range(200))
    texts = [f"{instruction} {' '.join(str(draw.randrange(10**6)) for _ in range(8))}" for _ in range(150)]
    assert len(brute_force(texts[:20], 0.9)) == 190
    assert found(texts, 0.9) == {}


def test_equal_texts_below_different_instructions_are_not_alike() -> None:
    draw = random.Random(5)
    one, two = (" ".join(f"{kind}{k}" for k in range(30)) for kind in "ab")
    bodies = [" ".join(str(draw.randrange(10**6)) for _ in range(60)) for _ in range(near.BOILERPLATE_ROWS + 1)]
    texts = [f"{instruction} {body}" for instruction in (one, two) for body in bodies]
    assert found(texts, 0.9) == {}
    assert len(found([*texts, f"{one} {bodies[0]}"], 0.9)) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is 3 + 4?", "What is 3 - 4?", False),
        ("Polish  the\nsofa", "polish the sofa", True),
        ("今天天气很好我们去公园散步吧", "今天天气很好我们去公园散步吗", False),
        ("今天天气很好我们去公园散步吧", "今天天气很好我们去公园散步吧", True),
        ("a", "b", False),
        ("naïve café au lait", "naïve café au lait", True),
    ],
)
def test_what_counts_as_a_word(one: str, other: str, same: bool) -> None:
    assert np.array_equal(shingles(one), shingles(other)) is same


def test_scripts_without_spaces_are_compared_by_character() -> None:
    text = "".join(chr(0x4E00 + k) for k in random.Random(1).choices(range(2000), k=200))
    assert list(found([text, text[:100] + "x" + text[101:]], 0.9)) == [(1, 0)]
    assert words("泰x ไทย a1") == ["泰", "x", *"ไทย", "a1"]


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_text_has_the_same_words_as_in_other_text(text: str) -> None:
    assert words(text + " é")[:-1] == words(text)


@given(st.text())
def test_any_text_has_a_sorted_set_of_shingles(text: str) -> None:
    values = shingles(text)
    assert np.array_equal(values, np.unique(values))
    assert len(values) <= max(1, len(words(text)) - 2)
    assert (len(values) == 0) == (not text.split())


def test_no_row_split_off_nearly_repeats_a_training_row(prepare: Any) -> None:
    draw = random.Random(8)
    texts = [[str(draw.randrange(10**6)) for _ in range(draw.randrange(60, 120))] for _ in range(20)]
    edited = [[*text[:place], "x", *text[place + 1 :]] for text in texts for place in draw.sample(range(len(text)), 4)]
    talks = [{"messages": [{"role": "user", "content": " ".join(text)}]} for text in texts + edited]
    outcome = prepare(training=talks, settings={"test_split": 0.3, "validation_split": 0.3})
    kept = [prompt for split in outcome.splits for prompt in outcome.prompts(split)]
    assert len(kept) == 20
    assert brute_force(kept, 0.9) == {}


def test_near_duplicates_are_dropped_with_the_row_they_repeat(prepare: Any) -> None:
    draw = random.Random(0)
    long = [str(draw.randrange(10**6)) for _ in range(100)]
    rows = [long, [*long[:50], "changed", *long[51:]], [*long[:20], "a", "b", "c", *long[23:]], long[::-1]]
    talks = [{"messages": [{"role": "user", "content": " ".join(row)}]} for row in rows]
    outcome = prepare(training=[*talks, {"messages": [{"role": "user", "content": "else"}]}])
    assert [(row["line"], row["reason"].replace(f"{outcome.folder}/", "")) for row in outcome.rejected] == [
        (2, "nearly repeats training.jsonl:1 (similarity 0.941)"),
        (3, "nearly repeats training.jsonl:1 (similarity 0.903)"),
    ]
    assert outcome.report["near_duplicates"] == 2
    assert prepare(training=talks, settings={"near_duplicates": None}).rejected == []
