from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.answering import Asker
from evaluation.figures import further
from evaluation.further import Calibration, divergence, recall, row_vectors
from evaluation.join import Column
from evaluation.likelihood import likelihoods
from evaluation.worker import is_valid, without_reasoning
from shared.chat import answer_ids, prompt_ids
from shared.rows import Row
from shared.tasks import load_task
from shared.weights import load_model, load_tokenizer

TALK = '{"type": "conversation"}'


def row(index: int, prompt: str, reference: str | None) -> Row:
    return Row(f"r{index}", [{"role": "user", "content": prompt}], reference, reference)


@pytest.fixture(scope="module")
def asker(models: dict[str, Path]) -> Asker:
    import torch

    source = str(models["student"])
    return Asker(load_model(source, torch.float32), load_tokenizer(source), load_task(TALK), 8)


def test_likelihoods_are_those_of_the_models_own_loss_whatever_the_batch(asker: Asker) -> None:
    import torch

    texts = [("hi", "hello there"), ("a much longer question " * 3, "no"), ("x", "söner, fröhlicher")]
    rows = [row(place, prompt, reference) for place, (prompt, reference) in enumerate(texts)]
    found = likelihoods(asker, rows)
    for asked, likelihood in zip(rows, found, strict=True):
        assert asked.reference
        assert likelihood is not None
        answer = answer_ids(asker.tokenizer, asked.reference)
        ids = prompt_ids(asker.tokenizer, asked.prompt)
        labels = torch.tensor([[-100] * len(ids) + answer])
        model: Any = asker.model
        with torch.inference_mode():
            mean = float(model(input_ids=torch.tensor([ids + answer]), labels=labels).loss)
        assert likelihood[0] == pytest.approx(mean * len(answer), rel=1e-4)
        assert likelihood[1:] == (len(answer), len(asked.reference.encode()))


def test_rows_without_reference_or_with_one_that_does_not_fit_have_no_likelihood(asker: Asker) -> None:
    rows = [row(0, "hi", None), row(1, "hi", "x" * 200), row(2, "y" * 400, "fits beside the end of its prompt")]
    first, second, third = likelihoods(asker, rows)
    assert first is None
    assert second is None
    assert third is not None


def test_answers_chosen_among_labels_have_neither_likelihood_nor_form(asker: Asker) -> None:
    task = load_task('{"type": "nli"}')
    labelled = Asker(asker.model, asker.tokenizer, task, 8)
    asked = row(0, "a", "neutral")
    assert likelihoods(labelled, [asked]) == [None]
    assert is_valid(task, asked, "neutral") is None


@pytest.mark.parametrize(
    ("task", "text", "valid"),
    [
        ('{"type": "math", "chain_of_thought": true}', "so 3 + 4 = 7\n#### 7", True),
        ('{"type": "math"}', "I cannot say", False),
        ('{"type": "summarization", "max_summary_words": 2}', "one two three", True),
        ('{"type": "summarization", "max_summary_words": 2}', "one two three four", False),
        (TALK, "   ", False),
    ],
)
def test_the_form_of_an_answer_is_judged_without_reasoning(task: str, text: str, valid: bool) -> None:
    assert is_valid(without_reasoning(load_task(task)), row(0, "q", None), text) is valid


def test_perplexity_is_by_token_and_comparable_by_byte() -> None:
    column = Column()
    for vector in ([1.0, 2 * math.log(8), 2, 6], [1.0, 4 * math.log(2), 4, 4]):
        column.append(vector)
    figures = further({"perplexity": column}, 200, 0)
    # 2 tokens of 3 bits and 4 of 1 bit: 10 bits over 6 tokens and 10 bytes
    assert figures["perplexity"]["value"] == pytest.approx(2 ** (10 / 6))
    assert figures["perplexity"]["bits_per_byte"] == pytest.approx(1.0)
    assert figures["perplexity"]["low"] <= figures["perplexity"]["value"] <= figures["perplexity"]["high"]


def test_divergence_of_hand_computed_shares() -> None:
    teacher, other = {"a": 0.75, "b": 0.25}, {"a": 0.5, "b": 0.5}
    assert divergence(teacher, teacher) == 0
    assert divergence(teacher, other) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert divergence(other, teacher) != divergence(teacher, other)
    assert divergence({"a": 1.0, "b": 0.0}, other) == pytest.approx(math.log(2))
    assert math.isfinite(divergence(other, {"a": 1.0, "b": 0.0}) or math.inf)
    assert divergence(teacher, {"a": 0.5, "c": 0.5}) is None


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_a_divergence_is_never_negative(weights: list[float], random: Any) -> None:
    def shares(values: list[float]) -> dict[str, float]:
        return {str(place): value / sum(values) for place, value in enumerate(values)}

    other = random.sample(weights, len(weights))
    assert (divergence(shares(weights), shares(other)) or 0.0) >= 0


def test_calibration_of_hand_computed_rows() -> None:
    found = Calibration()
    for confidence, correct in ((0.95, True), (0.95, False), (0.62, True), (1.0, True), (0.05, False)):
        found.add(confidence, correct)
    value = found.to_json()
    assert value is not None
    assert [(each["low"], each["n"]) for each in value["bins"]] == [(0.0, 1), (0.6, 1), (0.9, 3)]
    assert value["bins"][2]["accuracy"] == pytest.approx(2 / 3)
    # |0 − .05| + |1 − .62| + |2 − 2.9|, over five rows
    assert value["ece"] == pytest.approx((0.05 + 0.38 + 0.9) / 5)
    assert Calibration().to_json() is None


def test_who_is_right_as_often_as_it_says_is_calibrated() -> None:
    random = np.random.default_rng(0)
    honest, boaster = Calibration(), Calibration()
    for confidence in random.uniform(0.3, 1, 20_000):
        correct = bool(random.random() < confidence)
        honest.add(float(confidence), correct)
        boaster.add(min(1.0, float(confidence) + 0.2), correct)
    assert (honest.to_json() or {})["ece"] < 0.02
    assert (boaster.to_json() or {})["ece"] > 0.1


def test_facts_are_found_whatever_their_case() -> None:
    assert (
        recall("The parcel\nARRIVES on  Friday at Straße 5", ["arrives on friday", "STRASSE 5", "Monday", "5"]) == 0.75
    )
    vectors = dict(row_vectors({"answer": "on Friday"}, None, ["friday", "monday"]))
    assert vectors == {"fact_recall": [1.0, 0.5]}
    assert dict(row_vectors({"answer": "x"}, None, [])) == {}


def test_facts_that_are_no_list_of_texts_are_refused_with_their_line(tmp_path: Path) -> None:
    from evaluation.heldout import inspect
    from shared.errors import InvalidInput

    rows = [row(0, "q", "a").to_json() | {"facts": ["x"]}, row(1, "q", "a").to_json() | {"facts": "x"}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    with pytest.raises(InvalidInput, match=r"test\.jsonl:2: facts: must be a list of texts"):
        inspect(tmp_path)
