from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.answering import Asker
from shared.rows import Row
from shared.tasks import load_task
from shared.weights import load_model, load_tokenizer

LABELS = ("sport", "politics", "very good sport")
CLASSES = json.dumps({"type": "classification", "labels": list(LABELS)})


@pytest.fixture(scope="module")
def loaded(models: dict[str, Path]) -> tuple[Any, Any]:
    import torch

    source = str(models["teacher"])
    return load_model(source, torch.float32), load_tokenizer(source)


def rows(lengths: list[int]) -> list[Row]:
    return [
        Row(f"r{index}", [{"role": "user", "content": f"{index} " + "abc " * length}])
        for index, length in enumerate(lengths)
    ]


def asker(loaded: tuple[Any, Any], task: str, tokens: int = 8) -> Asker:
    return Asker(*loaded, load_task(task), tokens)


def test_labels_do_not_depend_on_the_batch(loaded: tuple[Any, Any]) -> None:
    task = json.dumps({"type": "classification", "labels": ["aa", "bb", "cc", "cd"]})  # of one length: none has a lead
    asked = rows([1, 30, 4, 17, 9, 2, 25, 12, 3])
    batched = asker(loaded, task).answer(asked)
    single = [asker(loaded, task).answer([row])[0] for row in asked]
    assert [answer.text for answer in batched] == [answer.text for answer in single]
    assert len({answer.text for answer in batched}) > 1
    for one, many in zip(single, batched, strict=True):
        assert one.probabilities == pytest.approx(many.probabilities, abs=1e-5)
        assert sum((many.probabilities or {}).values()) == pytest.approx(1)
        assert one.tokens == many.tokens


def test_texts_do_not_depend_on_the_batch(loaded: tuple[Any, Any]) -> None:
    asked = rows([1, 30, 4, 17, 9])
    batched = asker(loaded, '{"type": "conversation"}').answer(asked)
    single = [asker(loaded, '{"type": "conversation"}').answer([row])[0] for row in asked]
    assert [answer.text for answer in batched] == [answer.text for answer in single]
    assert any(answer.text for answer in batched)


def test_rows_with_different_candidates_are_answered_in_their_own_order(loaded: tuple[Any, Any]) -> None:
    questions = ["Which?\nA) one\nB) two", "Which?\nA) one\nB) two\nC) three", "What?\nA) x\nB) y"]
    asked = [Row(str(place), [{"role": "user", "content": text}]) for place, text in enumerate(questions)]
    answers = asker(loaded, '{"type": "nlu_qa"}').answer(asked)
    assert [len(answer.probabilities or {}) for answer in answers] == [2, 3, 2]


def test_a_prompt_longer_than_the_window_is_cut_at_its_beginning_and_counted(loaded: tuple[Any, Any]) -> None:
    model = asker(loaded, CLASSES)
    answers = model.answer(rows([1, 200]))
    assert model.truncated == 1
    assert answers[1].tokens + len("very good sport") == 256


def test_texts_that_run_out_of_tokens_are_counted(loaded: tuple[Any, Any]) -> None:
    model = asker(loaded, '{"type": "conversation"}', tokens=1)
    model.answer(rows([3, 4]))
    assert model.cut == 2


def test_a_teacher_is_asked_with_the_tasks_instruction(loaded: tuple[Any, Any]) -> None:
    plain = asker(loaded, CLASSES).answer(rows([1]))[0]
    teacher = Asker(*loaded, load_task(CLASSES), 8, as_teacher=True).answer(rows([1]))[0]
    instruction = load_task(CLASSES).instruction or ""
    assert teacher.tokens == plain.tokens + len(instruction) + 2  # a byte is a token; the role and the end of the turn
