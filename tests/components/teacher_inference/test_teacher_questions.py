"""What is asked, of whom it is hidden, and when it is asked again."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from loopback_teacher import LoopbackTeacher
from teacher_bench import CHAT, TOPICS, Bench

from shared.errors import InvalidInput
from shared.examples import balanced, read_examples
from shared.rows import Row, write_rows
from shared.tasks import load_task
from teacher_inference.preview import preview
from teacher_inference.questions import Questions
from teacher_inference.selection import Policy
from teacher_inference.settings import Sampling


def test_validation_truth_is_kept_and_tests_are_always_asked(bench: Bench) -> None:
    bench.write("train", ["t0", "t1"], reference="gold")
    bench.write("test", ["x0"], reference="gold")
    bench.write("validation", ["v0"], reference="gold")
    with LoopbackTeacher(lambda body: "silver") as server:
        result = bench.run(server)
    assert sorted(server.prompts()) == ["t0", "t1", "x0"]
    assert [(row.answer, row.reference) for row in result.validation] == [("gold", "gold")]
    assert [(row.answer, row.reference) for row in result.train + result.test] == [("silver", "gold")] * 3

    bench.write("validation", ["v0"])
    with LoopbackTeacher(lambda body: "silver") as server:
        assert [row.answer for row in bench.run(server).validation] == ["silver"]


def test_the_reference_is_never_sent(bench: Bench) -> None:
    bench.write("train", ["a", "b"], reference="the golden answer")
    with LoopbackTeacher() as server:
        bench.run(server)
    assert not any("golden" in json.dumps(seen.body) for seen in server.requests)


def test_other_fields_of_a_row_are_kept(bench: Bench) -> None:
    (bench.folder / "data").mkdir()
    row = Row("r", [{"role": "user", "content": "q"}], extra={"source": {"line": 3}})
    write_rows(bench.folder / "data" / "train.jsonl", [row])
    with LoopbackTeacher() as server:
        assert bench.run(server).train[0].extra == {"source": {"line": 3}}


def test_equal_prompts_are_bought_once(bench: Bench) -> None:
    bench.write("train", ["same", "same", "other", "same"])
    bench.write("test", ["same"])
    with LoopbackTeacher(latency=0.01) as server:
        result = bench.run(server)
    assert sorted(server.prompts()) == ["other", "same"]
    assert len(result.train) == 4
    assert result.usage["reused"] == 3


def test_a_finished_run_sends_nothing_and_writes_the_same(bench: Bench) -> None:
    bench.write("train", [f"q{number}" for number in range(30)])
    with LoopbackTeacher() as server:
        first = bench.run(server)
        written = (bench.responses / "train.jsonl").read_bytes()
        again = bench.run(server)
    assert len(server.requests) == 30
    assert (bench.responses / "train.jsonl").read_bytes() == written
    assert (again.usage["requests"], again.usage["reused"]) == (0, 30)
    assert again.usage["latency_ms"] == first.usage["latency_ms"]
    assert again.usage["latency_ms"]["p50"] > 0


@pytest.mark.parametrize(
    "changed",
    [
        Sampling(temperature=0.5),
        Sampling(top_p=0.5),
        Sampling(max_tokens=7),
        Sampling(seed=1),
        Sampling(temperature=None),
    ],
)
def test_a_changed_parameter_asks_again_and_the_old_answers_stay(bench: Bench, changed: Sampling) -> None:
    bench.write("train", ["a", "b"])
    with LoopbackTeacher() as server:
        bench.run(server)
        bench.run(server, sampling=changed)
        assert len(server.requests) == 4
        bench.run(server)
        bench.run(server, sampling=changed)
        assert len(server.requests) == 4


def test_a_changed_system_prompt_asks_again(bench: Bench) -> None:
    """Its absence from the key once gave the French answers to the German question."""
    bench.write("train", ["a"])
    with LoopbackTeacher(lambda body: body["messages"][0]["content"]) as server:
        french = bench.run(server, {**CHAT, "system_prompt": "Answer in French."})
        german = bench.run(server, {**CHAT, "system_prompt": "Answer in German."})
    assert (french.train[0].answer, german.train[0].answer) == ("Answer in French.", "Answer in German.")


def test_a_new_row_asks_for_itself_only(bench: Bench) -> None:
    with LoopbackTeacher() as server:
        bench.write("train", ["a", "b"])
        bench.run(server)
        bench.write("train", ["c", "a", "b"])
        bench.run(server)
    assert sorted(server.prompts()) == ["a", "b", "c"]


def gold(bench: Bench, references: list[str]) -> None:
    (bench.folder / "gold").mkdir(exist_ok=True)
    rows = [
        Row(f"gold{index}", [{"role": "user", "content": f"g{index}"}], reference, reference)
        for index, reference in enumerate(references)
    ]
    write_rows(bench.folder / "gold" / "train.jsonl", rows)


def test_examples_are_shown_before_the_question_evenly_over_the_labels(bench: Bench) -> None:
    gold(bench, ["sport"] * 20 + ["tech", "politics"] * 2)
    bench.write("train", ["a"])
    with LoopbackTeacher(lambda body: "tech") as server:
        bench.run(server, TOPICS, sampling=Sampling(few_shot=6))
    messages = server.requests[0].body["messages"]
    assert [message["role"] for message in messages] == ["system", *["user", "assistant"] * 6, "user"]
    shown = Counter(message["content"] for message in messages if message["role"] == "assistant")
    assert shown == {"sport": 2, "tech": 2, "politics": 2}
    assert messages[-1]["content"] == "a"


def test_no_row_is_its_own_example(bench: Bench) -> None:
    gold(bench, ["sport", "tech", "politics"])
    bench.write("train", ["g0", "g1", "g2", "a"])
    with LoopbackTeacher(lambda body: "tech") as server:
        bench.run(server, TOPICS, sampling=Sampling(few_shot=2))
    for seen in server.requests:
        contents = [message["content"] for message in seen.body["messages"]]
        assert contents.count(contents[-1]) == 1
        assert len(contents) == 1 + 2 * 2 + 1


def test_the_choice_of_examples_does_not_hang_on_the_order(bench: Bench) -> None:
    gold(bench, ["sport", "tech"] * 10)
    chosen = read_examples(bench.folder / "gold", 4)
    path = bench.folder / "gold" / "train.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert read_examples(bench.folder / "gold", 4) == chosen
    assert len(chosen) == 5


def test_examples_without_gold_rows(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match=r"sampling\.few_shot: needs gold rows"):
        read_examples(None, 3)
    gold(bench, [])
    with pytest.raises(InvalidInput, match="few_shot"):
        read_examples(bench.folder / "gold", 3)


def test_balanced_keeps_every_row() -> None:
    rows = [Row(str(number), [], reference=reference) for number, reference in enumerate("aabcaa")]
    assert [row.reference for row in balanced(rows)] == ["a", "b", "c", "a", "a", "a"]


def test_a_preview_counts_bytes_for_a_character_may_be_several_tokens(bench: Bench) -> None:
    bench.write("train", ["日本語", "abc"], reference="はい")
    task = load_task(json.dumps(CHAT))
    found = preview(Questions(bench.folder / "data", task), Policy.of(task, 1, None, 0), shown=0)
    assert (found["prompt_bytes"], found["answer_bytes"]) == (9 + 3, 2 * 6)
