"""Whatever the bytes of a file are: rows or problems, never a traceback."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
message = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "x"]), "content": anything})
conversation = st.lists(message | anything, max_size=4) | anything
row = st.fixed_dictionaries({"messages": conversation}, optional={"id": anything})
text_line = st.text(max_size=30) | (row | anything).map(json.dumps)
line = st.binary(max_size=40) | text_line.map(lambda text: text.encode("utf-8", "surrogatepass"))
content = st.lists(line, max_size=6).map(b"\n".join)


@settings(deadline=None, max_examples=150)
@given(content, st.sampled_from([".jsonl", ".csv", ".parquet"]), st.sampled_from(["conversation", "nlu_qa"]))
@example(b'{"messages": [{"role": "user", "content": "' + b"\\ud800" + b'"}]}', ".jsonl", "conversation")
@example(b"messages\n" + b'"[{""role"": ""user"", ""content"": ""a""}]"', ".csv", "conversation")
@example(b"PAR1" + bytes(40) + b"PAR1", ".parquet", "conversation")
def test_any_bytes_are_rows_or_problems(prepare: Any, content: bytes, suffix: str, task: str) -> None:
    outcome = prepare(task=task, training=content, suffix=suffix, settings={"test_split": 0, "validation_split": 0})
    if outcome.problems:
        assert all(problem["message"] for problem in outcome.report["problems"])
    else:
        rows = outcome.report["files"]["training_data"]["rows"]
        assert len(outcome.splits["train"]) + len(outcome.rejected) == rows > 0


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60) | st.dictionaries(st.text(max_size=12), anything, max_size=4).map(json.dumps))
def test_any_settings_are_settings_or_problems(prepare: Any, text: str) -> None:
    outcome = prepare(training='{"messages": [{"role": "user", "content": "a"}]}', settings=text)
    assert outcome.problems
