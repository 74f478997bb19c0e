from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from student_finetune.losses import (
    ABSENT,
    DIVERGENCES,
    answer_nll,
    candidate_logprobs,
    forward_kl,
    jensen_shannon,
    label_kl,
    reverse_kl,
    tail_kl,
    token_logprobs,
)

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


def test_a_listed_teacher_that_is_certain_is_cross_entropy() -> None:
    student = torch.tensor([[-0.3, -2.0], [-4.0, -0.1]])
    certain = torch.tensor([[0.0, ABSENT], [ABSENT, 0.0]])
    torch.testing.assert_close(tail_kl(student, certain), torch.tensor([0.3, 0.1]))


def test_tail_kl_of_known_probabilities() -> None:
    # two of the tokens are listed; the rest is the third class
    found = tail_kl(logs(0.2, 0.3), logs(0.6, 0.1))
    assert float(found) == pytest.approx(kl([0.6, 0.1, 0.3], [0.2, 0.3, 0.5]), rel=1e-5)


def test_a_tail_of_rounding_is_left_out() -> None:
    assert float(tail_kl(logs(0.5, 0.2), logs(0.9, 0.1 - 5e-5))) == pytest.approx(
        0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.2), abs=1e-3
    )


def test_the_tails_optimum_has_the_teachers_probabilities_and_its_mass() -> None:
    draw = torch.Generator().manual_seed(0)
    teacher = (2 * torch.randn(1, 60, generator=draw)).log_softmax(-1)
    listed = teacher.topk(8)
    student = torch.zeros(1, 60, requires_grad=True)
    optimiser = torch.optim.LBFGS([student], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        loss = tail_kl(student.log_softmax(-1)[:, listed.indices[0]], listed.values).sum()
        torch.autograd.backward(loss)
        return loss

    optimiser.step(step)  # type: ignore[no-untyped-call]
    found = student.detach().softmax(-1)
    torch.testing.assert_close(found[:, listed.indices[0]], listed.values.exp(), rtol=1e-3, atol=1e-4)
    mass = float(listed.values.exp().sum())
    assert mass < 0.9
    assert 1 - float(found[:, listed.indices[0]].sum()) == pytest.approx(1 - mass, rel=1e-3)


vocabulary = st.lists(st.floats(-8, 8), min_size=6, max_size=6)


@given(vocabulary, vocabulary, st.integers(1, 5))
def test_the_tail_never_says_more_than_the_whole(a: list[float], b: list[float], listed: int) -> None:
    student, teacher = torch.tensor([a], dtype=torch.double), torch.tensor([b], dtype=torch.double)
    ids = teacher.topk(listed).indices[0]
    known = tail_kl(student.log_softmax(-1)[:, ids], teacher.log_softmax(-1)[:, ids])
    assert float(known) <= float(forward_kl(student, teacher, 1.0)) + 1e-3
    assert float(known) >= -1e-3


P, Q = [0.7, 0.2, 0.1], [0.2, 0.2, 0.6]
MIDDLE = [(p + q) / 2 for p, q in zip(P, Q, strict=True)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("forward_kl", kl(P, Q)), ("reverse_kl", kl(Q, P)), ("jsd", (kl(P, MIDDLE) + kl(Q, MIDDLE)) / 2)],
)
def test_divergences_of_known_probabilities(name: str, expected: float) -> None:
    student, teacher = logs(*Q) + 3.0, logs(*P) - 5.0  # logits may be shifted as one likes
    assert float(DIVERGENCES[name](student, teacher, 1.0)) == pytest.approx(expected, rel=1e-5)


def test_a_whole_teacher_that_is_certain_is_cross_entropy() -> None:
    student = torch.tensor([[0.3, -1.2, 2.0]])
    certain = torch.tensor([[0.0, -1e4, -1e4]])
    assert float(forward_kl(student, certain, 1.0)) == pytest.approx(-float(student.log_softmax(-1)[0, 0]), rel=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
@given(vocabulary, vocabulary)
def test_divergences_are_never_negative_and_zero_for_the_same(name: str, a: list[float], b: list[float]) -> None:
    student, teacher = torch.tensor([a]), torch.tensor([b])
    assert float(DIVERGENCES[name](student, teacher, 2.0)) >= -1e-4
    assert float(DIVERGENCES[name](student + 2.0, student, 2.0)) == pytest.approx(0, abs=1e-4)


@given(vocabulary, vocabulary)
def test_jensen_shannon_is_the_same_from_both_sides_and_bounded(a: list[float], b: list[float]) -> None:
    student, teacher = torch.tensor([a]), torch.tensor([b])
    found = float(jensen_shannon(student, teacher, 1.0))
    assert found == pytest.approx(float(jensen_shannon(teacher, student, 1.0)), abs=1e-4)
    assert found <= math.log(2) + 1e-4


def test_reverse_kl_is_forward_kl_with_the_sides_exchanged() -> None:
    a, b = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reverse_kl(a, b, 1.7), forward_kl(b, a, 1.7))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_t_squared_makes_up_for_the_temperature(name: str) -> None:
    divergence = DIVERGENCES[name]
    a, b = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    # logits T times as large at temperature T are the same distributions, and only T² remains
    torch.testing.assert_close(divergence(3 * a, 3 * b, 3.0), 9 * divergence(a, b, 1.0), rtol=1e-4, atol=1e-6)
    sizes = []
    for temperature in (40.0, 80.0):
        student = a.clone().requires_grad_()
        torch.autograd.backward(divergence(student, b, temperature).sum())
        assert student.grad is not None
        sizes.append(float(student.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
