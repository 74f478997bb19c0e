"""CSV, Parquet and flat JSON lines say the same as JSON lines of conversations."""

from __future__ import annotations

import csv
import datetime
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

WHOLE = {"validation_split": 0, "test_split": 0}
FLAT = {"prompt": "question", "answer": "label", "system": "role", "id": "key"}
SETTINGS = {**WHOLE, "columns": FLAT}


def as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def flat(number: int, question: str = "q") -> dict[str, str]:
    return {"question": f"{question} {number}", "label": f"a, {number}", "role": "", "key": f"k{number}", "topic": "t"}


# csv folds lone carriage returns, and NUL ends a text file
plain = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=30).filter(str.strip)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(plain, plain, plain), min_size=1, max_size=5))
def test_three_formats_of_the_same_rows_give_the_same_output(prepare: Any, cells: list[tuple[str, str, str]]) -> None:
    rows = [
        {"question": question, "label": label, "role": role, "key": str(number), "topic": "a\nb"}
        for number, (question, label, role) in enumerate(cells)
    ]
    outcomes = [
        prepare(training=rows, settings=SETTINGS),
        prepare(training=as_csv(rows), suffix=".csv", settings=SETTINGS),
        prepare(training=as_parquet(rows), suffix=".parquet", settings=SETTINGS),
    ]
    first = outcomes[0].splits["train"]
    assert [outcome.splits["train"] for outcome in outcomes] == [first] * 3
    assert [drop["id"] for drop in outcomes[1].rejected] == [drop["id"] for drop in outcomes[2].rejected]
    system, user, assistant = first[0]["messages"]
    assert (user["content"], assistant["content"], system["content"]) == cells[0]
    assert first[0]["topic"] == "a\nb"


def test_a_messages_column_is_a_list_in_parquet_and_json_text_in_csv(prepare: Any) -> None:
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    listed = prepare(training=[{"messages": talk}], settings=WHOLE)
    parquet_rows = prepare(training=as_parquet([{"messages": talk}]), suffix=".parquet", settings=WHOLE)
    csv_rows = prepare(training=as_csv([{"messages": json.dumps(talk)}]), suffix=".csv", settings=WHOLE)
    renamed = prepare(training=[{"talk": talk}], settings={**WHOLE, "columns": {"messages": "talk"}})
    assert listed.splits == parquet_rows.splits == csv_rows.splits == renamed.splits
    bad = as_csv([{"messages": json.dumps(talk)}, {"messages": "[{]"}, {"messages": '[{"role": "user"}]'}])
    assert prepare(training=bad, suffix=".csv").problems == [
        "training.csv:3: messages: is not JSON: Expecting property name enclosed in double quotes at column 3",
        "training.csv:4: messages[0].content: is missing",
    ]


def test_csv_lines_are_physical_lines(prepare: Any) -> None:
    rows = [flat(1), flat(2, "two\nlines"), {**flat(3), "question": " "}, flat(4), {**flat(5), "question": ""}]
    content = "\n" + as_csv(rows).replace("two\nlines", "two\n\nlines") + "\n"
    assert prepare(training=content, suffix=".csv", settings=SETTINGS).problems == [
        "training.csv:7: question: is empty",
        "training.csv:9: question: is empty",
    ]


BAD_CSV = [
    ("question,label,role,key\na,b,c,d\n\na,b\n", "training.csv:4: has 2 cells, the header has 4"),
    (
        'question,label,role,key\n\na,b,c,"d\n\n',
        "training.csv:3: is not CSV: unexpected end of data (reading stopped here)",
    ),
    ("question,label,role,label,key\n", "training.csv:1: label: is the name of two columns"),
    (
        "questions,label,role,key\na,b,c,d\n",
        "training.csv:1: question: there is no such column (did you mean 'questions'?)",
    ),
    ("question,label,role\na,b,c\n", "training.csv:1: key: there is no such column (data.columns.id)"),
    ("question,label,role,key\n", "training.csv: has no rows"),
    (b"question,label,role,key\na,b,c,d\na,\xe9,c,e\nf,,,g\n", "training.csv:3: is not UTF-8: byte 3 of the line"),
    (
        b"question,label,role,key\na,\0,c,d\n",
        "training.csv:2: is a binary file, not text: it holds a NUL byte (save it as UTF-8 text)",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD_CSV, ids=[message[13:50] for _, message in BAD_CSV])
def test_bad_csv_is_named_with_its_line(prepare: Any, content: str | bytes, message: str) -> None:
    assert prepare(training=content, suffix=".csv", settings=SETTINGS).problems == [message]


def test_a_table_needs_a_mapping_or_a_messages_column(prepare: Any) -> None:
    assert prepare(training="question,label\na,b\n", suffix=".csv").problems == [
        'training.csv:1: messages: there is no such column (name yours in data.columns: {"prompt": …, "answer": …})'
    ]
    assert prepare(training=as_parquet([{"message": "x"}]), suffix=".parquet").problems == [
        "training.parquet: messages: there is no such column (rename 'message')"
    ]


def test_blank_answers_ids_and_system_messages_are_none(prepare: Any) -> None:
    rows = [{"question": "a", "label": " ", "role": "", "key": ""}, {"question": "b", "label": None, "role": None}]
    outcome = prepare(training=rows, settings=SETTINGS)
    assert [len(row["messages"]) for row in outcome.splits["train"]] == [1, 1]
    assert [row["reference"] for row in outcome.splits["train"]] == [None, None]
    assert all(len(name) == 16 for name in outcome.ids("train"))


def test_whole_numbers_are_texts_and_other_cells_are_problems(prepare: Any) -> None:
    rows = [{"question": 4, "label": 2, "key": "a"}, {"question": True, "label": 1.5}, {"quest": "x"}]
    assert prepare(training=rows, settings=SETTINGS).problems == [
        "training.jsonl:2: question: must be a text, not true or false",
        "training.jsonl:2: label: must be a text, not a number",
        "training.jsonl:3: question: is missing (there is 'quest')",
    ]
    (first,) = prepare(training=rows[:1], settings=SETTINGS).splits["train"]
    assert [message["content"] for message in first["messages"]] == ["4", "2"]


def test_a_column_may_not_take_the_place_of_a_prepared_field(prepare: Any) -> None:
    rows = [{"question": "a", "id": "x", "messages": "y"}]
    assert prepare(training=rows, settings=SETTINGS).problems == [
        "training.jsonl:1: id: is a field that prepared rows use themselves (rename it)",
        "training.jsonl:1: messages: is a field that prepared rows use themselves (rename it)",
    ]


def test_parquet_columns_that_are_no_json_are_left_out_with_a_warning(prepare: Any) -> None:
    rows = [{"question": "a", "label": "b", "role": None, "key": "k", "day": datetime.date(2026, 1, 2), "n": [1, 2]}]
    outcome = prepare(training=as_parquet(rows), suffix=".parquet", settings=SETTINGS)
    (row,) = outcome.splits["train"]
    assert row["n"] == [1, 2]
    assert "day" not in row
    assert outcome.report["warnings"][0].endswith("training.parquet: left out columns that are no JSON: day")


def test_parquet_not_a_number_is_a_problem_of_its_row(prepare: Any) -> None:
    rows = [{**flat(1), "n": 1.0}, {**flat(2), "n": float("nan")}]
    outcome = prepare(training=as_parquet(rows), suffix=".parquet", settings=SETTINGS)
    assert outcome.problems == ["training.parquet:2: holds a number that is infinite or not a number"]


def test_damaged_parquet_is_a_problem(prepare: Any) -> None:
    whole = as_parquet([flat(number) for number in range(2000)])
    for content in (whole[: len(whole) // 2], b"PAR1" + whole[500:], whole[:300] + b"\xff" * 500 + whole[800:]):
        (problem,) = prepare(training=content, suffix=".parquet", settings=SETTINGS).problems
        assert problem.startswith("training.parquet: is not a readable Parquet file")
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([flat(1)]).slice(0, 0), sink)
    empty = prepare(training=sink.getvalue(), suffix=".parquet", settings=SETTINGS)
    assert empty.problems == ["training.parquet: has no rows"]


def test_parquet_without_pyarrow_is_a_problem(prepare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = as_parquet([flat(1)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert prepare(training=content, suffix=".parquet").problems == [
        "training.parquet: needs pyarrow to be read (pip install pyarrow, or give .jsonl)"
    ]


def test_the_suffix_tells_the_format_in_any_case(prepare: Any, tmp_path: Path) -> None:
    path = tmp_path / "ROWS.CSV"
    path.write_text(as_csv([flat(1)]))
    assert prepare(training=path, settings=SETTINGS).ids("train") == ["k1"]
