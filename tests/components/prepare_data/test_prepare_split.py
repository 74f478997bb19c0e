"""Splitting and balancing."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

LABELS = ("entailment", "contradiction", "neutral")


def row(number: int, label: str | None = None) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"question {number * 7919}"}]
    return {"messages": messages + ([{"role": "assistant", "content": label}] if label else [])}


def labelled(**counts: int) -> list[dict[str, Any]]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    random.Random(0).shuffle(labels)
    return [row(number, label) for number, label in enumerate(labels)]


def counted(outcome: Any) -> dict[str, dict[str, int]]:
    return {name: split["labels"] for name, split in outcome.report["splits"].items()}


shares = st.sampled_from([0, 0.01, 0.1, 0.2, 0.33])


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 60), shares, shares, st.integers(0, 5), st.randoms(use_true_random=False))
def test_splits_are_disjoint_complete_reproducible_and_free_of_the_order(
    prepare: Any, count: int, validation: float, test: float, seed: int, draw: random.Random
) -> None:
    training = [row(number, draw.choice([*LABELS, None])) for number in range(count)]
    wanted = {"validation_split": validation, "test_split": test, "seed": seed}
    outcome = prepare(task="nli", training=training, settings=wanted)
    ids = [name for split in outcome.splits for name in outcome.ids(split)]
    assert len(ids) == len(set(ids)) == count
    for name, share in (("validation", validation), ("test", test)):
        assert len(outcome.ids(name)) == (max(1, round(share * count)) if share else 0)
        assert (name in outcome.splits) is bool(share)
    draw.shuffle(training)
    again = prepare(task="nli", training=training, settings=wanted)
    assert {name: set(again.ids(name)) for name in again.splits} == {
        name: set(outcome.ids(name)) for name in outcome.splits
    }


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_split(prepare: Any) -> None:
    training = [row(number) for number in range(50)]
    one, two = prepare(training=training), prepare(training=training)
    other = prepare(training=training, settings={"seed": 1})
    for name in ("train", "validation", "test"):
        first, second = ((run.folder / "data" / f"{name}.jsonl").read_bytes() for run in (one, two))
        assert first == second
    assert set(other.ids("test")) != set(one.ids("test"))


def test_cleaning_what_is_clean_changes_nothing(prepare: Any) -> None:
    draw = random.Random(4)
    texts = [" ".join(str(draw.randrange(50)) for _ in range(draw.randrange(1, 90))) for _ in range(60)]
    texts += [text + " more" for text in texts[:30]] + texts[:10]
    training = [{"messages": [{"role": "user", "content": text}]} for text in texts]
    whole = {"validation_split": 0, "test_split": 0}
    once = prepare(training=training, settings=whole)
    assert once.report["duplicates"] == 10
    assert once.report["near_duplicates"] > 3
    twice = prepare(training=once.folder / "data" / "train.jsonl", settings=whole)
    assert twice.splits == once.splits
    assert twice.rejected == []


def test_each_label_gives_its_share(prepare: Any) -> None:
    outcome = prepare(task="nli", training=labelled(entailment=100, neutral=50, contradiction=30))
    assert counted(outcome) == {
        "train": {"contradiction": 24, "entailment": 80, "neutral": 40},
        "validation": {"contradiction": 3, "entailment": 10, "neutral": 5},
        "test": {"contradiction": 3, "entailment": 10, "neutral": 5},
    }


def test_imbalance_is_warned_of_and_can_be_balanced(prepare: Any) -> None:
    training = [*labelled(entailment=100, neutral=20), *(row(number) for number in range(1000, 1010))]
    warned = prepare(task="nli", training=training)
    ratio = "the label 'entailment' has 5.0 times as many training rows as the rarest: consider data.balance: true"
    assert ratio in warned.report["warnings"]
    balanced = prepare(task="nli", training=training, settings={"balance": True})
    kept = Counter(row["reference"] for row in balanced.splits["train"])
    assert kept == {"entailment": 16, "neutral": 16, None: 8}
    assert balanced.ids("test") == warned.ids("test")
    assert balanced.report["balanced"] == 64
    reason = "balance: its label has more training rows than the rarest label"
    assert {drop["reason"] for drop in balanced.rejected} == {reason}
    assert not any("times as many" in warning for warning in balanced.report["warnings"])


def test_given_files_are_not_split_and_nothing_is_split_off_for_them(prepare: Any) -> None:
    training, test, validation = ([row(number) for number in range(start, start + 20)] for start in (0, 100, 200))
    both = prepare(training=training, test=test, validation=validation)
    assert {name: len(rows) for name, rows in both.splits.items()} == {"train": 20, "validation": 20, "test": 20}
    assert {name: len(rows) for name, rows in prepare(training=training, test=test).splits.items()} == {
        "train": 18,
        "validation": 2,
        "test": 20,
    }
    only = prepare(test=test)
    assert list(only.splits) == ["test"]
    assert (only.folder / "gold" / "train.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("count", "wanted", "message"),
    [
        (2, {}, "too few training rows to split off test and validation: 2"),
        (1, {"test_split": 0}, "too few training rows to split off validation: 1"),
    ],
)
def test_too_few_rows_to_split(prepare: Any, count: int, wanted: dict[str, Any], message: str) -> None:
    (problem,) = prepare(training=[row(number) for number in range(count)], settings=wanted).report["problems"]
    assert problem["message"] == message
    assert "or set the split to 0" in problem["hint"]


def test_gold_rows_cannot_be_split_off(prepare: Any) -> None:
    training = [row(number) for number in range(5)]
    outcome = prepare(training=training, gold=[row(number, "yes") for number in range(1, 5)])
    assert outcome.problems[0].startswith("too few training rows to split off test and validation: 5 (4 of them gold")


def test_that_most_rows_are_left_out_is_told(prepare: Any) -> None:
    settings = {"validation_split": 0, "test_split": 0}
    outcome = prepare(training=[row(1)] * 5 + [row(2)], settings=settings)
    assert outcome.report["warnings"] == ["most rows are left out: 4 of 6 (4 duplicates)"]
    assert prepare(training=[row(1)] * 2 + [row(2)], settings=settings).report["warnings"] == []


def test_gold_rows_have_answers(prepare: Any) -> None:
    outcome = prepare(training=[row(number) for number in range(5)], gold=[row(7, "yes"), row(8)])
    (problem,) = outcome.problems
    assert problem.startswith("gold.jsonl:2: has no answer for a teacher")


def test_a_row_is_written_with_id_messages_reference_and_what_else_it_had(prepare: Any) -> None:
    given_row = row(1, "neutral") | {"topic": {"deep": [1, None, "é"]}}
    outcome = prepare(task="nli", training=[given_row], settings={"validation_split": 0, "test_split": 0})
    (written,) = outcome.splits["train"]
    assert list(written) == ["id", "messages", "reference", "topic"]
    assert written == given_row | {"id": written["id"], "reference": "neutral"}
    assert len(written["id"]) == 16
    assert int(written["id"], 16) >= 0
    other = row(1, "entailment")
    outcome = prepare(task="nli", training=json.dumps(other), settings={"validation_split": 0, "test_split": 0})
    assert outcome.ids("train") == [written["id"]]  # the id is the prompt's, whatever the answer
