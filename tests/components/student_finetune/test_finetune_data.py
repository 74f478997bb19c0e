from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.rows import Row
from shared.scratch import train_tokenizer
from student_finetune.data import Encoder, Located, read_gold_validation, read_training, stream_training
from student_finetune.signals import LabelProbabilities

TOKENIZER = train_tokenizer(["one two"] * 4, 300)
USER = {"role": "user", "content": "one two"}


def answered(text: str, **more: Any) -> dict[str, Any]:
    return {"id": "r", "messages": [USER, {"role": "assistant", "content": text}], "reference": None, **more}


def test_every_bad_row_is_named_by_its_line(tmp_path: Path, write_split: Callable[..., Path]) -> None:
    rows = [
        answered("good"),
        {"id": "r", "messages": [USER], "reference": None},
        answered("  "),
        answered("a", label_logprobs={"a": 0.0}),
        answered("a", label_logprobs={"a": "x", "b": -1.0}),
        answered("a", label_logprobs={"a": 0.5, "b": -1.0}),
        answered("a", label_logprobs={"a": -0.5, "b": -0.9}),
        answered("a", token_logprobs=[{"token": "a", "logprob": -0.1, "top": [["a", -0.1]]}]),
        answered("a", token_logprobs=[{"token": "a", "logprob": -0.1}]),
        answered("a", token_logprobs=[{"token": "a", "logprob": 0.3, "top": []}]),
        answered("a", token_logprobs=[{"token": "a", "logprob": -0.1, "top": [["a"]]}]),
    ]
    with pytest.raises(InvalidInput) as refused:
        read_training(write_split(tmp_path, train=rows))
    assert [problem.line for problem in refused.value.problems] == [2, 3, 4, 5, 6, 9, 10, 11]
    assert {problem.file for problem in refused.value.problems} == {str(tmp_path / "train.jsonl")}


def test_no_rows_is_an_error(tmp_path: Path, write_split: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInput, match="no row"):
        read_training(tmp_path)
    with pytest.raises(InvalidInput, match="no row"):
        read_training(write_split(tmp_path, train=[]))


def test_only_gold_validation_rows_choose_the_checkpoint(tmp_path: Path, write_split: Callable[..., Path]) -> None:
    write_split(tmp_path, validation=[answered("teacher's"), answered("mine") | {"reference": "mine"}])
    assert [located.line for located in read_gold_validation(tmp_path)] == [2]
    assert read_gold_validation(tmp_path / "nowhere") == []


def located(answer: str, line: int, **more: Any) -> Located:
    return Located(Row("r", [{"role": "user", "content": "one"}], answer, **more), "rows.jsonl", line)


def test_an_answer_ends_with_the_end_of_turn() -> None:
    example = Encoder(TOKENIZER, 100).encode(located("two", 1).row)
    assert example.answer[-1] == TOKENIZER.eos_token_id
    assert TOKENIZER.decode(example.prompt + example.answer) == "<|user|>one<|end|><|assistant|>two<|end|>"


def test_teacher_probabilities_are_used_where_wanted_only() -> None:
    row = located("two", 1, label_logprobs={"two": -0.1, "one": -2.4}).row
    assert Encoder(TOKENIZER, 100).encode(row).teacher == ()
    example = Encoder(TOKENIZER, 100, [LabelProbabilities(TOKENIZER, 1.0)]).encode(row)
    assert example.teacher == (-0.1, -2.4)
    assert [TOKENIZER.decode(list(ids)) for ids in example.candidates] == ["two", "one"]


def test_long_rows_are_left_out_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [located("one", 1), located("one " * 50, 2), located("two", 3), located("two " * 50, 4)]
    assert len(Encoder(TOKENIZER, 20).encode_all(rows)) == 2
    assert "2 of 4 rows are longer than 20 tokens" in (said := capsys.readouterr().out)
    assert "rows.jsonl:2" in said


def test_a_row_of_exactly_the_length_is_kept() -> None:
    encoder = Encoder(TOKENIZER, 100)
    length = len(encoder.encode(located("two", 1).row))
    assert len(Encoder(TOKENIZER, length).encode_all([located("two", 1)])) == 1
    with pytest.raises(InvalidInput, match="max_length"):
        Encoder(TOKENIZER, length - 1).encode_all([located("two", 1)])


def test_an_answer_that_would_never_end_is_refused_with_its_line() -> None:
    rows = [located("one", 1), located("one<|end|>two", 2), located("<|end|>", 3)]
    with pytest.raises(InvalidInput, match="end-of-turn") as refused:
        Encoder(TOKENIZER, 100).encode_all(rows)
    assert [problem.line for problem in refused.value.problems] == [2, 3]


def test_an_answer_without_a_token_is_refused_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.chat.answer_ids", lambda tokenizer, answer: [] if answer == "☃" else [20])
    with pytest.raises(InvalidInput, match="no token for the answer") as refused:
        Encoder(TOKENIZER, 100).encode_all([located("one", 1), located("☃", 2)])
    assert [problem.line for problem in refused.value.problems] == [2]


def test_token_log_probabilities_are_read_when_they_are_needed(
    tmp_path: Path, write_split: Callable[..., Path]
) -> None:
    tokens = [{"token": "a", "logprob": -0.1, "top": [["a", -0.1], ["b", -2.5]]}]
    write_split(tmp_path, train=[answered("a", token_logprobs=tokens), answered("a")])
    assert [located.row.token_logprobs for located in read_training(tmp_path)] == [[], None]
    assert [located.row.token_logprobs for located in stream_training(tmp_path)] == [tokens, None]


def test_messages_that_the_template_refuses_are_told_by_line() -> None:
    tokenizer = train_tokenizer(["one two"] * 4, 300)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no such role') }}{% endif %}"
        "{{ m.content }}<|end|>{% endfor %}"
    )
    bad = Located(Row("r", [{"role": "user", "content": "bad"}], "two"), "rows.jsonl", 2)
    with pytest.raises(InvalidInput, match=r"rows.jsonl:2: .*no such role") as refused:
        Encoder(tokenizer, 100).encode_all([located("one", 1), bad, located("one<|end|>", 3)])
    assert [problem.line for problem in refused.value.problems] == [2, 3]


def test_what_an_endpoint_rounds_up_is_a_probability(tmp_path: Path, write_split: Callable[..., Path]) -> None:
    tokens = [{"token": "a", "logprob": 0.004, "top": [["a", 0.004], ["b", -6.0]]}]
    write_split(tmp_path, train=[answered("a", token_logprobs=tokens)])
    assert len(read_training(tmp_path)) == 1
