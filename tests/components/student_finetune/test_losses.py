from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from student_finetune.losses import ABSENT, Objective, answer_nll, candidate_logprobs, label_kl, token_logprobs

scores = st.lists(st.floats(-20, 0), min_size=3, max_size=3)


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)


def logs(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def test_token_logprobs_are_rows_of_a_log_softmax() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    at, tokens = torch.tensor([3, 0, 3]), torch.tensor([6, 1, 2])
    torch.testing.assert_close(token_logprobs(logits, at, tokens), logits.log_softmax(-1)[at, tokens])


def test_token_logprobs_of_bfloat16_logits_are_computed_in_float32() -> None:
    logits = torch.tensor([[20.0, 20.125]], dtype=torch.bfloat16)
    (value,) = token_logprobs(logits, torch.tensor([0]), torch.tensor([0]))
    assert float(value) == pytest.approx(-math.log1p(math.exp(0.125)), abs=1e-6)


def test_answer_nll_of_known_probabilities() -> None:
    assert float(answer_nll(logs(0.5, 0.25)[0], torch.tensor([1.0, 0.5]))) == pytest.approx(2 * math.log(2))


def test_label_kl_of_known_probabilities() -> None:
    assert float(label_kl(logs(0.5, 0.5), logs(0.9, 0.1), 1.0)) == pytest.approx(kl([0.9, 0.1], [0.5, 0.5]), rel=1e-5)


def test_label_kl_at_temperature_two_softens_both_sides_and_multiplies_by_four() -> None:
    # p ∝ √(0.9, 0.1) = (3, 1) / 4 and q ∝ √(0.2, 0.8) = (1, 2) / 3
    expected = 4 * kl([0.75, 0.25], [1 / 3, 2 / 3])
    assert float(label_kl(logs(0.2, 0.8), logs(0.9, 0.1), 2.0)) == pytest.approx(expected, rel=1e-5)


def test_label_kl_sums_over_rows() -> None:
    student, teacher = torch.cat([logs(0.5, 0.5)] * 3), torch.cat([logs(0.9, 0.1)] * 3)
    assert float(label_kl(student, teacher, 2.0)) == pytest.approx(3 * float(label_kl(student[:1], teacher[:1], 2.0)))


def test_the_gradient_keeps_its_size_when_the_temperature_grows() -> None:
    sizes = []
    for temperature in (50.0, 100.0):
        student = logs(0.2, 0.8).requires_grad_()
        torch.autograd.backward(label_kl(student, logs(0.9, 0.1), temperature))
        assert student.grad is not None
        sizes.append(float(student.grad.abs().sum()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.03)


def test_a_certain_teacher_is_cross_entropy_over_the_candidates() -> None:
    student = torch.tensor([[0.3, -1.2, 2.0]])
    certain = torch.tensor([[0.0, ABSENT, -math.inf]]).clamp(min=ABSENT)
    assert float(label_kl(student, certain, 1.0)) == pytest.approx(-float(student.log_softmax(-1)[0, 0]), rel=1e-6)


@given(scores, scores, st.floats(0.2, 10))
def test_label_kl_is_never_negative_and_zero_for_the_same(a: list[float], b: list[float], temperature: float) -> None:
    student, teacher = torch.tensor([a]), torch.tensor([b])
    assert float(label_kl(student, teacher, temperature)) >= -1e-4
    assert float(label_kl(teacher + 3.0, teacher, temperature)) == pytest.approx(0.0, abs=1e-3)


def test_absent_candidates_change_nothing() -> None:
    narrow = label_kl(logs(0.3, 0.7), logs(0.9, 0.1), 2.0)
    student = torch.tensor([[math.log(0.3), math.log(0.7), ABSENT]], requires_grad=True)
    wide = label_kl(student, torch.tensor([[math.log(0.9), math.log(0.1), ABSENT]]), 2.0)
    torch.testing.assert_close(wide, narrow)
    torch.autograd.backward(wide)
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
    assert float(student.grad[0, 2]) == 0.0


def test_candidate_logprobs_add_up_a_candidates_tokens() -> None:
    found = candidate_logprobs(torch.tensor([-1.0, -2.0, -4.0, -8.0]), torch.tensor([0, 1, 1, 3]), (2, 3))
    assert found.tolist() == [[-1.0, -6.0, ABSENT], [-8.0, ABSENT, ABSENT]]


def batch(*, teacher: bool) -> dict[str, torch.Tensor]:
    """Two rows; the first has the answer token 0 and, with `teacher`, candidates 0 and 1; the second answers 2."""
    found = {
        "answer_at": torch.tensor([0, 1]),
        "answer_tokens": torch.tensor([0, 2]),
        "answer_has_teacher": torch.tensor([teacher, False]),
    }
    if teacher:
        found |= {
            "candidate_at": torch.tensor([0, 0]),
            "candidate_tokens": torch.tensor([0, 1]),
            "candidate_cells": torch.tensor([0, 1]),
            "teacher": logs(0.9, 0.1),
        }
    return found


LOGITS = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]).log()
KL = kl([0.9, 0.1], [0.4, 0.6])  # the student's candidates, 0.2 and 0.3, among themselves


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_objective_mixes_by_row(weight: float) -> None:
    terms = Objective(temperature=1.0, weight=weight).terms(LOGITS, batch(teacher=True))
    assert float(terms["tokens"]) == pytest.approx(-(1 - weight) * math.log(0.2) - math.log(0.8), rel=1e-5)
    assert float(terms["labelled"]) == pytest.approx(weight * KL, rel=1e-5, abs=1e-7)


def test_response_is_plain_cross_entropy() -> None:
    terms = Objective().terms(LOGITS, batch(teacher=False))
    expected = torch.nn.functional.cross_entropy(LOGITS, torch.tensor([0, 2]), reduction="sum")
    assert list(terms) == ["tokens"]
    torch.testing.assert_close(terms["tokens"], expected)
