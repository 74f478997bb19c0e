"""Repeats, conflicts, leaks between the files, over-long rows."""

from __future__ import annotations

import random
from typing import Any

import pytest


def row(prompt: str, answer: str | None = None, **extra: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"messages": messages + ([{"role": "assistant", "content": answer}] if answer else []), **extra}


def rows(*prompts: str) -> list[dict[str, Any]]:
    return [row(prompt, f"answer to {prompt}") for prompt in prompts]


def text(seed: int) -> str:
    draw = random.Random(seed)
    return " ".join(str(draw.randrange(10**6)) for _ in range(80))


WHOLE = {"validation_split": 0, "test_split": 0}


def reasons(outcome: Any) -> list[tuple[int, str]]:
    return [(drop["line"], drop["reason"].replace(f"{outcome.folder}/", "")) for drop in outcome.rejected]


def test_the_same_prompt_is_kept_once(prepare: Any) -> None:
    outcome = prepare(training=[*rows("a  b", "c"), row(" a b\n", "another"), *rows("c")], settings=WHOLE)
    assert outcome.prompts("train") == ["a  b", "c"]
    assert reasons(outcome) == [
        (3, "conflict: the prompt of training.jsonl:1 with another answer"),
        (4, "repeats training.jsonl:2"),
    ]
    assert (outcome.report["duplicates"], outcome.report["conflicts"]) == (1, 1)
    (warning,) = outcome.report["warnings"]
    assert warning == "rows that repeat a prompt with another answer: 1 (the first answer was kept)"


def test_the_first_row_with_an_answer_stands_for_its_prompt(prepare: Any) -> None:
    training = [row("a"), row("a", "yes"), row("a", "yes "), row("a", "no"), row("a")]
    outcome = prepare(training=training, settings=WHOLE)
    assert [kept["reference"] for kept in outcome.splits["train"]] == ["yes"]
    assert {key: outcome.report[key] for key in ("duplicates", "conflicts")} == {"duplicates": 3, "conflicts": 1}


def test_another_system_message_or_another_split_of_the_turns_is_another_prompt(prepare: Any) -> None:
    turns = ["user", "assistant", "user"]
    talks = [
        [("system", "be kind"), ("user", "a")],
        [("system", "be short"), ("user", "a")],
        [("user", "a")],
        list(zip(turns, ["a b", "c", "d"], strict=True)),
        list(zip(turns, ["a", "b c", "d"], strict=True)),
    ]
    training = [{"messages": [{"role": role, "content": content} for role, content in talk]} for talk in talks]
    assert len(prepare(training=training, settings=WHOLE | {"near_duplicates": None}).splits["train"]) == 5


@pytest.mark.parametrize(
    ("given", "protected"), [("training", "test"), ("training", "validation"), ("validation", "test"), ("gold", "test")]
)
@pytest.mark.parametrize("near", [False, True])
def test_leaks_are_problems_or_dropped(prepare: Any, given: str, protected: str, near: bool) -> None:
    leaked = text(1) + (" changed" if near else "")
    files = {"training": rows("x", "y"), "test": rows("u")}
    files |= {given: rows("a", leaked, "b"), protected: rows("q", text(1))}
    outcome = prepare(**files)
    stands = "nearly (similarity 0.987) stands" if near else "stands"
    assert outcome.problems == [
        f"{given}.jsonl:2: {stands} in {protected}.jsonl:2 too (take it out of one of them, or set data.leakage: drop)"
    ]
    assert outcome.report["leaks"] == 1
    dropped = prepare(**files, settings={"leakage": "drop", "validation_split": 0, "test_split": 0})
    assert dropped.report["leaks"] == len(dropped.rejected) == 1
    kind = "nearly repeats" if near else "repeats"
    assert reasons(dropped)[0][1].startswith(f"leak: {kind} {protected}.jsonl:2")
    kept = dropped.gold if given == "gold" else dropped.splits["train" if given == "training" else given]
    assert [kept_row["messages"][0]["content"] for kept_row in kept] == ["a", "b"]


def test_near_leaks_are_not_looked_for_when_near_duplicates_are_off(prepare: Any) -> None:
    settings = {"near_duplicates": None}
    assert prepare(training=rows("a", "b", text(1) + " c"), test=rows(text(1)), settings=settings).problems == []


def test_a_leak_outranks_a_repeat(prepare: Any) -> None:
    outcome = prepare(training=rows("a", "b", "a", text(1), text(1) + " x"), test=rows("a", text(1)))
    assert [problem.split(": ")[0] for problem in outcome.problems] == [f"training.jsonl:{n}" for n in (1, 3, 4, 5)]


def test_gold_rows_may_stand_in_the_training_rows_and_then_are_never_split_off(prepare: Any) -> None:
    prompts = [f"{number} {text(number)}" for number in range(20)]
    gold = rows(*prompts[:7]) + rows(prompts[7] + " extra")
    outcome = prepare(training=rows(*prompts), gold=gold, settings={"test_split": 0.4, "validation_split": 0.2})
    assert set(prompts[:8]) <= set(outcome.prompts("train"))
    assert {name: len(split) for name, split in outcome.splits.items()} == {"train": 8, "validation": 4, "test": 8}
    assert len(outcome.gold) == 8
    assert outcome.report["splits"]["gold"]["rows"] == 8


def test_the_same_file_given_twice_is_one_problem(prepare: Any) -> None:
    content = rows("a", "b")
    problem = "training.jsonl: training_data: is the same file as test_data"
    assert prepare(training=content, test=content).problems == [problem]
    assert prepare(training=content, gold=content, test=rows("c"), settings=WHOLE).problems == []


def test_over_long_rows_are_dropped_before_they_can_stand_for_their_prompt(prepare: Any) -> None:
    training = [row("a", "b" * 400), row("a", "b" * 395), row("c", "d")]
    outcome = prepare(training=training, settings={**WHOLE, "max_tokens": 100})
    assert reasons(outcome) == [(1, "longer than max_tokens: about 101 tokens")]
    assert outcome.report["overlong"] == 1
    assert outcome.report["splits"]["train"]["tokens"] == {"p50": 99, "p95": 99, "max": 99, "total": 100}


def test_a_file_of_which_nothing_is_left_is_a_problem(prepare: Any) -> None:
    outcome = prepare(training=rows("long prompt"), test=rows("x"), settings={"max_tokens": 2})
    assert outcome.problems == [f"{name}.jsonl: has no row left after cleaning" for name in ("test", "training")]


def test_rejected_rows_are_named_by_id_and_never_quoted(prepare: Any) -> None:
    secret = text(3)
    training = [row(secret, "confidential", id="one"), row(secret, "private", id="two"), row(secret + " x", "quiet")]
    outcome = prepare(training=training, settings=WHOLE)
    assert [drop["id"] for drop in outcome.rejected][:1] == ["two"]
    assert len(outcome.rejected[1]["id"]) == 16
    assert all(set(drop) == {"file", "line", "id", "reason"} for drop in outcome.rejected)
    written = (outcome.folder / "data" / "rejected.jsonl").read_text() + str(outcome.report)
    for word in (secret.split()[0], "confidential", "private", "quiet"):
        assert word not in written
