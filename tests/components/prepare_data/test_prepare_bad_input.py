"""Every kind of bad input, and the one message with file, line and field that it gets."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from prepare_data import lines, problems


def talk(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[place % 2], "content": text} for place, text in enumerate(contents)]}


def line(*contents: str) -> str:
    return json.dumps(talk(*contents)) + "\n"


GOOD = line("one") + line("two") + line("three")


def messages(*pairs: tuple[Any, Any]) -> str:
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in pairs]})


ROWS = [
    ("{nope", "is not JSON: Expecting property name enclosed in double quotes at column 2"),
    ("[1]", "is not a JSON object"),
    ("12", "is not a JSON object"),
    ('{"messages": []}', "messages: has no user message"),
    ('{"messages": 7}', "messages: must be a list of messages, not a number"),
    ('{"mesages": []}', "messages: is missing (rename 'mesages')"),
    ('{"message": []}', "messages: is missing (rename 'message')"),
    ('{"x": 1}', "messages: is missing (flat fields are named in data.columns)"),
    ('{"messages": ["hi"]}', "messages[0]: must be an object, not a text"),
    ('{"messages": [{"role": "user"}]}', "messages[0].content: is missing"),
    ('{"messages": [{"rol": "user", "content": "a"}]}', "messages[0].role: is missing (rename 'rol')"),
    (
        '{"messages": [{"role": "user", "content": "a", "name": "b"}]}',
        "messages[0].name: a message has only role and content",
    ),
    (messages(("usr", "a")), "messages[0].role: must be system, user or assistant (did you mean 'user'?)"),
    (messages((["user"], "a")), "messages[0].role: must be system, user or assistant"),
    (messages(("user", "a"), ("tool", "b")), "messages[1].role: must be system, user or assistant"),
    (messages(("user", "a"), ("system", "b")), "messages[1].role: a system message can only stand first"),
    (messages(("assistant", "a")), "messages[0].role: must be user, user and assistant take turns"),
    (messages(("user", "a"), ("user", "b")), "messages[1].role: must be assistant, user and assistant take turns"),
    (messages(("system", "a")), "messages: has no user message"),
    (messages(("user", " \n")), "messages[0].content: is empty"),
    (messages(("user", None)), "messages[0].content: must be a text, not null"),
    (messages(("user", [])), "messages[0].content: must be a text, not a list (join the parts to one text)"),
    ('{"messages": [{"role": "user", "role": "user", "content": "a"}]}', "role: stands twice in one JSON object"),
    (messages(("user", "a"))[:-1] + ', "x": NaN}', "NaN is not JSON"),
    (messages(("user", "a"))[:-1] + ', "x": -Infinity}', "-Infinity is not JSON"),
    (messages(("user", "a"))[:-1] + ', "x": 1e999}', "holds a number that is infinite or not a number"),
    (messages(("user", "a"))[:-1] + ', "x": ' + "1" * 5000 + "}", "holds a number of too many digits"),
    ("[" * 100_000, "is nested too deeply"),
    (messages(("user", "a"), ("assistant", "\ud800")), "messages[1].content: holds half of a surrogate pair"),
    (messages(("user", "a"))[:-1] + ', "x": "\\udfff"}', "holds half of a surrogate pair"),
    (messages(("user", "a"))[:-1] + ', "id": 5}', "id: must be a text, not a number"),
    (
        messages(("user", "a"))[:-1] + ', "rationale": "b"}',
        "rationale: is a field that prepared rows use themselves (rename it)",
    ),
    (
        messages(("user", "a"))[:-1] + ', "reference": "b"}',
        "reference: differs from the last assistant message (the reference answer is the last assistant message)",
    ),
]


@pytest.mark.parametrize(("row", "message"), ROWS, ids=[message[:40] for _, message in ROWS])
def test_bad_row_is_named_with_its_line_and_field(prepare: Any, row: str, message: str) -> None:
    assert prepare(training=GOOD + row + "\n" + GOOD).problems == [f"training.jsonl:4: {message}"]


def test_all_problems_of_all_files_come_at_once(prepare: Any) -> None:
    bad = messages(("usr", ""))
    outcome = prepare(training=f"{bad}\n\n{GOOD}nope\n", test="{}\n", validation=Path("/nowhere/v.jsonl"))
    assert outcome.problems == [
        "/nowhere/v.jsonl: validation_data: does not exist",
        "test.jsonl:1: messages: is missing (flat fields are named in data.columns)",
        "training.jsonl:1: messages[0].role: must be system, user or assistant (did you mean 'user'?)",
        "training.jsonl:1: messages[0].content: is empty",
        "training.jsonl:6: is not JSON: Expecting value at column 1",
    ]
    assert [problem["line"] for problem in outcome.report["problems"]] == [None, 1, 1, 1, 6]


FILES: list[tuple[bytes, str]] = [
    (b"", "training.jsonl: training_data: is empty"),
    (b"\n \r\n\n", "training.jsonl: has no rows"),
    (GOOD.encode("utf-16"), "training.jsonl:1: is UTF-16, not UTF-8 (save it as UTF-8 text)"),
    (GOOD.encode("utf-16-le"), "training.jsonl:1: is UTF-16, not UTF-8 (save it as UTF-8 text)"),
    (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "training.jsonl:3: is a binary file, not text: it holds a NUL byte (save it as UTF-8 text)",
    ),
    (
        GOOD.encode() * 2000 + b"a\0b\nc\0d\n",
        "training.jsonl:6001: is a binary file, not text: it holds a NUL byte (reading stopped here)",
    ),
    (GOOD.encode() + b'{"\xff\n', "training.jsonl:4: is not UTF-8: byte 3 of the line"),
    (GOOD.encode() + line("x").encode()[:30], "training.jsonl:4: is half a row: the file ends in the middle of it"),
    (GOOD.encode() + b'{"messages": ', "training.jsonl:4: is half a row: the file ends in the middle of it"),
    (GOOD.encode() + '{"é'.encode()[:-1], "training.jsonl:4: is half a row: the file ends in the middle of it"),
    (b'[\n{"messages": []}\n]', "training.jsonl:1: is one JSON list (write one JSON object a line, no list)"),
]


@pytest.mark.parametrize(("content", "message"), FILES, ids=[message[15:60] for _, message in FILES])
def test_bad_file_is_one_problem(prepare: Any, content: bytes, message: str) -> None:
    assert prepare(training=content).problems == [message]


@pytest.mark.parametrize(
    "content",
    [GOOD.rstrip(), GOOD + "\n\n  \n", GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD],
    ids=["no newline at the end", "blank lines at the end", "CRLF", "byte order mark"],
)
def test_harmless_differences_are_accepted_silently(prepare: Any, content: str) -> None:
    plain, outcome = prepare(training=GOOD), prepare(training=content)
    assert outcome.splits == plain.splits
    assert outcome.report["warnings"] == plain.report["warnings"]


def test_a_folder_a_missing_file_and_an_unknown_format(prepare: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text(GOOD)
    outcome = prepare(training=tmp_path, test=tmp_path / "no.jsonl", gold=tmp_path / "rows.txt")
    assert outcome.problems == [
        f"{tmp_path}/no.jsonl: test_data: does not exist",
        f"{tmp_path}/rows.txt: gold_data: is of an unknown format (the format is told by .jsonl, .csv, .parquet)",
        f"{tmp_path}: training_data: is a folder, not a file",
    ]


def test_something_to_prepare_is_needed(prepare: Any) -> None:
    assert prepare(gold=GOOD).problems == ["training_data or test_data is needed"]


def test_an_output_is_not_taken_for_an_input(prepare: Any, tmp_path: Path) -> None:
    from prepare_data.main import main
    from shared.errors import InvalidInput

    source = tmp_path / "train.jsonl"
    source.write_text(GOOD)
    argv = ["--training-data", str(source), "--task", '{"type": "conversation"}']
    with pytest.raises(InvalidInput, match="is an output of this run too"):
        main([*argv, "--data", str(tmp_path), "--gold", str(tmp_path / "gold")])
    assert source.read_text() == GOOD


def test_a_line_of_five_megabytes_is_a_row_and_one_above_the_limit_is_not(prepare: Any) -> None:
    draw = random.Random(1)
    long = line(" ".join(str(draw.randrange(10**9)) for _ in range(500_000)))
    assert len(long) > 4_900_000
    outcome = prepare(training=GOOD + long)
    assert sum(map(len, outcome.splits.values())) == 4
    endless = line("x" * lines.MAX_LINE)
    assert prepare(training=GOOD + endless + "nope\n").problems == [
        "training.jsonl:4: is longer than 16 MiB",
        "training.jsonl:5: is not JSON: Expecting value at column 1",
    ]


def test_a_thousand_problems_are_listed_and_all_are_counted(prepare: Any) -> None:
    outcome = prepare(training="nope\n" * 1500)
    assert outcome.report["problem_count"] == 1500
    assert len(outcome.report["problems"]) == problems.LISTED == 1000
    assert outcome.problems[0] == "1500 problems; data_report.json lists the first 1000"
    assert outcome.problems[1].startswith("training.jsonl:1: ")


def test_a_given_id_is_unique_in_its_file(prepare: Any) -> None:
    rows = [{**talk(str(place)), "id": name} for place, name in enumerate("abca")]
    assert prepare(training=rows).problems == ["training.jsonl:4: id: is the id of line 1 too"]
    outcome = prepare(training=rows[:3], test=[{**talk("other"), "id": "a"}])
    assert sorted(outcome.ids("train") + outcome.ids("validation")) == ["a", "b", "c"]


def test_the_task_checks_its_rows(prepare: Any) -> None:
    outcome = prepare(task="nli", training=line("a", "neutral") + line("b", "neutra") + line("c", "d", "e"))
    assert outcome.problems == [
        "training.jsonl:2: messages: the answer 'neutra' is none of entailment, contradiction, neutral",
        "training.jsonl:3: messages: a row of nli has exactly one user message, this one has 2",
    ]


SETTINGS = [
    ({"seed": -1}, "settings.seed: must be a whole number from 0 on"),
    ({"seed": True}, "settings.seed: must be a whole number from 0 on"),
    ({"validation_split": 1}, "settings.validation_split: must be a number from 0 up to, but not including, 1"),
    ({"test_split": "0.1"}, "settings.test_split: must be a number from 0 up to, but not including, 1"),
    ({"test_split": 0.5, "validation_split": 0.5}, "settings: validation_split and test_split leave no row to train"),
    ({"near_duplicates": 0.2}, "settings.near_duplicates: must be a number from 0.5 to 1, or null"),
    ({"leakage": "ignore"}, 'settings.leakage: must be "error" or "drop"'),
    ({"balance": 1}, "settings.balance: must be true or false"),
    ({"balance": True}, "settings.balance: a conversation row has no label to balance by"),
    ({"max_tokens": 0}, "settings.max_tokens: must be a whole number from 1 on, or null"),
    ({"max_token": 9}, "settings.max_token: is no setting (did you mean 'max_tokens'?)"),
    ({"columns": {"promt": "q"}}, "settings.columns.promt: is no setting (did you mean 'prompt'?)"),
    ({"columns": {"answer": "a"}}, "settings.columns.prompt: is needed beside answer and system"),
    ({"columns": {"prompt": "q", "answer": "q"}}, "settings.columns: two parts of a row name the same column"),
    ({"columns": {"prompt": "q", "messages": "m"}}, "settings.columns: name either prompt or messages, not both"),
    ({"columns": {"id": 3}}, "settings.columns.id: must be the name of a column"),
    ({"columns": []}, 'settings.columns: must be an object such as {"prompt": "question", "answer": "label"}'),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS, ids=[message[:50] for _, message in SETTINGS])
def test_bad_settings_are_named(prepare: Any, settings: dict[str, Any], message: str) -> None:
    assert prepare(training=GOOD, settings=settings).problems == [message]


def test_bad_task_and_bad_settings_come_together(prepare: Any) -> None:
    outcome = prepare(training=GOOD, task="poetry", settings={"seed": None, "colums": {}})
    assert [problem.split(":")[0] for problem in outcome.problems] == ["task.type", "settings.colums", "settings.seed"]
