"""Several answers to one question: which are drawn, which are asked again, which are learnt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_teacher import Body, Fault, LoopbackTeacher, choice, status
from teacher_bench import CHAT, QUICK, TOPICS, Bench, Result

from shared.rows import Row
from shared.tasks import Extracted, load_task
from teacher_inference.endpoint import EndpointTeacher
from teacher_inference.judge import Judge
from teacher_inference.questions import Questions
from teacher_inference.runner import Runner
from teacher_inference.selection import Policy, Usable
from teacher_inference.settings import EndpointSettings, Limits, Sampling
from teacher_inference.source import Source
from teacher_inference.store import Store
from teacher_inference.teacher import Answer, Draws, Question
from teacher_inference.usage import Meter

MATH = {"type": "math"}
SEVERAL = Sampling(temperature=0.7, samples=4, re_asks=0)


class Scripted:
    """Answers each prompt with its own texts, one after the other; the last again and again."""

    def __init__(self, **texts: list[str]) -> None:
        self.texts = texts
        self.asked: Counter[str] = Counter()

    def __call__(self, body: Body) -> str:
        prompt = body["messages"][-1]["content"]
        self.asked[prompt] += 1
        return self.texts[prompt][min(self.asked[prompt], len(self.texts[prompt])) - 1]


def run(bench: Bench, answer: Callable[[Body], str], task: dict[str, Any], sampling: Sampling) -> tuple[Result, int]:
    with LoopbackTeacher(answer) as server:
        result = bench.run(server, task, sampling=sampling)
        requests = len(server.requests)
        again = bench.run(server, task, sampling=sampling)
        assert len(server.requests) == requests, "a finished run sends nothing"
        assert [row.to_json() for row in again.train] == [row.to_json() for row in result.train]
    return result, requests


def test_the_label_that_most_samples_agree_on_is_learnt_with_its_share(bench: Bench) -> None:
    bench.write("train", ["q"])
    result, requests = run(bench, Scripted(q=["tech", "sport", "sport", "sport"]), TOPICS, SEVERAL)
    assert requests == 4
    assert [(row.id, row.answer, row.agreement) for row in result.train] == [("train0", "sport", 0.75)]
    assert result.usage["agreement"] == 0.75
    assert result.usage["answered"] == 4


def test_mathematics_votes_by_value_not_by_spelling(bench: Bench) -> None:
    """Four spellings of a half win against two equal strings."""
    bench.write("train", ["q"])
    said = ["#### 7", "#### \\frac{1}{2}", "so #### 0.5", "#### 7", "#### 1/2", "#### \\frac{2}{4}"]
    sampling = Sampling(temperature=0.7, samples=6, re_asks=0)
    result, _ = run(bench, Scripted(q=said), MATH, sampling)
    (row,) = result.train
    assert row.agreement == pytest.approx(4 / 6, abs=1e-4)
    assert row.answer in said
    assert row.answer not in ("#### 7",)


def test_gold_keeps_an_answer_that_agrees_with_the_reference_of_train_rows_only(bench: Bench) -> None:
    bench.write("train", ["right", "wrong"], reference="#### 0.5")
    bench.write("test", ["held out"], reference="#### 0.5")
    texts = {"right": ["#### 3", "thus #### 1/2", "#### 3"], "wrong": ["#### 3"], "held out": ["#### 3", "#### 0.5"]}
    sampling = Sampling(temperature=0.7, samples=3, selection="gold", re_asks=0)
    result, requests = run(bench, Scripted(**texts), MATH, sampling)
    assert requests == 3 + 3 + 1  # the teacher is measured by its first answer, not by the truth
    assert [(row.id, row.answer) for row in result.train] == [("train0", "thus #### 1/2")]
    assert [row.answer for row in result.test] == ["#### 3"]
    assert result.rejected == [{"id": "train1", "split": "train", "reason": "no answer agrees with the reference"}]


def test_all_different_texts_of_a_train_row_are_learnt(bench: Bench) -> None:
    bench.write("train", ["q", "r"])
    bench.write("test", ["s"])
    result, requests = run(bench, Scripted(q=["a", "b", "a", "c"], r=["d"], s=["e"]), CHAT, SEVERAL)
    assert requests == 4 + 4 + 1
    assert [(row.id, row.answer) for row in result.train] == [
        ("train0", "a"), ("train0#1", "b"), ("train0#2", "c"), ("train1", "d")
    ]  # fmt: skip
    assert [(row.id, row.answer) for row in result.test] == [("test0", "e")]


def test_samples_are_asked_with_seeds_of_their_own(bench: Bench) -> None:
    bench.write("train", ["q"])
    with LoopbackTeacher() as server:
        bench.run(server, sampling=Sampling(temperature=0.7, samples=3, seed=10))
    assert sorted(seen.body["seed"] for seen in server.requests) == [10, 11, 12]


def test_more_samples_ask_for_the_new_ones_only(bench: Bench) -> None:
    bench.write("train", ["q", "r"])
    with LoopbackTeacher() as server:
        bench.run(server, sampling=Sampling(temperature=0.7, samples=2))
        bench.run(server, sampling=Sampling(temperature=0.7, samples=5))
        assert len(server.requests) == 10
        bench.run(server, sampling=Sampling(temperature=0.7, samples=1))
        assert len(server.requests) == 10


USELESS = {
    "cut": choice("half an ans", "length"),
    "refusal": choice(None, refusal="I cannot help with that"),
    "empty": choice("  "),
    "no label": choice("music"),
}


@pytest.mark.parametrize("fault", USELESS.values(), ids=USELESS.keys())
def test_a_useless_answer_is_asked_again_within_its_budget(bench: Bench, fault: Fault) -> None:
    bench.write("train", ["bad", "good"])
    left = {"bad": 2}

    def plan(number: int, body: Body) -> Fault | None:
        prompt = body["messages"][-1]["content"]
        left[prompt] = left.get(prompt, 0) - 1
        return fault if left[prompt] >= 0 else None

    with LoopbackTeacher(lambda body: "sport", plan=plan) as server:
        result = bench.run(server, TOPICS, sampling=Sampling(re_asks=1))
        assert len(server.requests) == 3
        assert [row.id for row in result.train] == ["train1"]
        assert result.usage["asked_again"] == 1
        assert {seen.body["temperature"] for seen in server.requests[2:]} == {0.7}  # not the same dice again
        result = bench.run(server, TOPICS, sampling=Sampling(re_asks=3))  # the two useless ones are known
        assert len(server.requests) == 4
        assert [row.id for row in result.train] == ["train0", "train1"]
        assert result.rejected == []


def test_an_unparsable_thought_is_asked_again(bench: Bench) -> None:
    bench.write("train", ["q"])
    good = '{"reason": "a match", "answer": "sport"}'
    result, requests = run(bench, Scripted(q=["sport!", good]), {**TOPICS, "chain_of_thought": True}, Sampling())
    assert requests == 2
    assert result.train[0].answer == "sport"


def test_one_usable_sample_of_many_is_enough(bench: Bench) -> None:
    bench.write("train", ["q"])
    result, requests = run(bench, Scripted(q=["x", "y", "sport", "z"]), TOPICS, SEVERAL)
    assert (requests, result.train[0].answer, result.train[0].agreement) == (4, "sport", None)
    assert result.rejected == []


def test_a_killed_run_asks_for_what_is_missing_of_a_row(bench: Bench) -> None:
    """Two of four samples of each row are lost with the end of the file."""
    bench.write("train", ["q", "r"])
    with LoopbackTeacher() as server:
        bench.run(server, sampling=SEVERAL)
        file = next(Path(bench.answers).glob("*.jsonl"))
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:4]) + lines[4][:20])
        bench.run(server, sampling=SEVERAL)
    assert len(server.requests) == 8 + 4


def test_equal_prompts_share_their_samples(bench: Bench) -> None:
    bench.write("train", ["q", "q"])
    bench.write("test", ["q"])
    result, requests = run(bench, Scripted(q=["music", "sport", "tech", "sport"]), TOPICS, Sampling(0.7, samples=3))
    assert requests == 4  # one was useless
    assert [row.answer for row in result.train + result.test] == ["sport"] * 3


def test_a_failed_sample_leaves_the_others(bench: Bench) -> None:
    bench.write("train", ["q", "r"])

    def plan(number: int, body: Body) -> Fault | None:
        return status(413) if body["seed"] == 1 and body["messages"][-1]["content"] == "q" else None

    with LoopbackTeacher(plan=plan) as server:
        result = bench.run(server, sampling=Sampling(temperature=0.7, samples=4, seed=0, re_asks=0))
    assert [row.id for row in result.train] == ["train0", "train1"]
    assert result.usage["answered"] == 7


def test_the_rationale_is_kept_where_it_is_asked_for(bench: Bench) -> None:
    bench.write("train", ["q"])
    thought = json.dumps({"reason": "two and two", "answer": "4"})
    for task, answer, rationale in (
        ({**MATH, "chain_of_thought": True}, "4", None),
        ({**MATH, "chain_of_thought": True, "keep_rationale": True}, "two and two\n#### 4", "two and two"),
    ):
        result, _ = run(bench, lambda body: thought, task, Sampling())
        assert [(row.answer, row.rationale) for row in result.train] == [(answer, rationale)]
    summary = json.dumps({"reason": "Rome", "answer": "A short one."})
    task = {"type": "summarization", "chain_of_density": True, "keep_rationale": True}
    result, _ = run(bench, lambda body: summary, task, Sampling())
    assert [(row.answer, row.rationale) for row in result.train] == [("A short one.", "Rome")]


def test_the_answers_of_several_teachers_are_weighed_together(bench: Bench) -> None:
    """Two say one thing, three another."""
    bench.write("train", ["q"])
    task, meter = load_task(json.dumps(TOPICS)), Meter()
    judge, sampling = Judge(task, "none"), Sampling(temperature=0.7)
    with LoopbackTeacher(lambda body: "tech") as one, LoopbackTeacher(lambda body: "sport") as two:
        sources: list[Source] = []
        for server in (one, one, two, two, two):
            settings = EndpointSettings(server.url, "teacher")
            teacher = EndpointTeacher(settings, replace(sampling, seed=len(sources)), Limits(), meter, backoff=QUICK)
            store = Store(bench.answers, teacher.name, f"{teacher.origin} {len(sources)}")
            sources.append(Source(teacher, store, judge, meter))
        Runner(Questions(bench.folder / "data", task), sources, Policy(), judge).run(bench.responses)
    (row,) = bench.result().train
    assert (row.answer, row.agreement) == ("sport", 0.6)


def usable(*answers: str) -> list[Usable]:
    return [Usable(Answer(text), Extracted(text)) for text in answers]


LABELS = load_task(json.dumps(TOPICS))
NAMES: tuple[str, ...] = tuple(TOPICS["labels"])


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=9))
def test_a_majority_is_one_and_the_earliest_of_equals(answers: list[str]) -> None:
    row = Row("r", [{"role": "user", "content": "q"}])
    (chosen,) = Policy(len(answers)).select(LABELS, "train", row, Question([], NAMES), usable(*answers))
    counts = Counter(answers)
    assert counts[chosen.extracted.answer] == max(counts.values())
    most = [label for label in counts if counts[label] == max(counts.values())]
    assert chosen.extracted.answer == min(most, key=answers.index)
    assert chosen.agreement == (pytest.approx(max(counts.values()) / len(answers), abs=1e-4) if answers[1:] else None)


@given(st.integers(0, 5), st.integers(0, 5), st.lists(st.booleans(), max_size=12))
def test_draws_give_each_number_once_and_never_more_than_they_have(count: int, spare: int, useless: list[bool]) -> None:
    draws = Draws(Question([]), count, spare)
    found: list[int] = []
    verdicts = iter(useless)
    while (number := next(draws, None)) is not None:
        found.append(number)
        if next(verdicts, False):
            draws.extend()
    assert found == list(range(len(found)))
    assert count <= len(found) <= count + spare
