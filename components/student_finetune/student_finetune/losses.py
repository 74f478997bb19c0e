"""What the student is trained to minimise, as pure functions of log probabilities and logits.

Each gives one number an item (a token, a row) or their sum, never a mean: `signals.Objective` divides by the number of
items in the whole optimiser step, so that gradients do not depend on how a step is cut into batches.
"""

from __future__ import annotations

import math

import torch

ABSENT = -1e9
"""Log probability of what a row does not have; finite, so that 0 * ABSENT is 0 and not NaN."""

CERTAIN = 1e-6
"""Least probability that a tail is taken to have in the student: log(0) has no gradient."""

NEGLIGIBLE = 1e-4
"""Teacher's tails below this are the rounding of its log probabilities, and are left out."""


def token_logprobs(logits: torch.Tensor, at: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """log p(token) of each `tokens` [n] by the logits [positions, vocabulary] at position `at` [n]: float32 [n]."""
    logits = logits.float()
    return logits[at, tokens] - logits.logsumexp(-1)[at]


def answer_nll(logprobs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy, summed over tokens.  `logprobs` and `weights`: [tokens]."""
    return -(weights * logprobs).sum()


def label_kl(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(teacher ‖ student) over the candidates of each row at temperature T, summed over rows.

    `student` and `teacher`: log probabilities [rows, candidates], normalised or not; `ABSENT` where a row has fewer
    candidates.  T² keeps the size of the gradient when T grows (Hinton et al., arXiv 1503.02531, section 2).
    """
    p = (teacher / temperature).log_softmax(-1)
    q = (student / temperature).log_softmax(-1)
    return temperature**2 * (p.exp() * (p - q)).sum()


def candidate_logprobs(token_logprobs: torch.Tensor, cells: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """log P(candidate) as the sum of its tokens' log probabilities: [rows, candidates] = `shape`.

    `token_logprobs` [n] and `cells` [n]: the flat index row * candidates + candidate that each token belongs to.
    """
    flat = token_logprobs.new_zeros(shape[0] * shape[1]).index_add(0, cells, token_logprobs)
    present = torch.zeros_like(flat, dtype=torch.bool).index_fill(0, cells, True)
    return flat.masked_fill(~present, ABSENT).view(shape)


def tail_kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher ‖ student) where the teacher's likeliest tokens are known only, at temperature 1: [tokens].

    `student` and `teacher`: log probabilities [tokens, listed] of the same listed tokens, `ABSENT` where there are
    fewer.  All other tokens of the vocabulary are one more class on either side, the tail.  So it is a lower bound of
    the whole KL (data processing inequality), and least where the student gives each listed token, and the tail, the
    teacher's probability; without the tail the student would learn to be surer than its teacher.
    """
    p, q = teacher.exp(), student.exp()
    listed = (p * (teacher - student)).sum(-1)
    tail = (1 - p.sum(-1)).clamp(min=0)
    rest = (1 - q.sum(-1)).clamp(min=CERTAIN)
    known = tail > NEGLIGIBLE
    return listed + torch.where(known, tail * (tail.clamp(min=NEGLIGIBLE).log() - rest.log()), 0.0)


def cooled(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits at a temperature; at 1 they are themselves, for a division copies all of them, and once more backward."""
    return logits if temperature == 1 else logits / temperature


def forward_kl(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(teacher ‖ student) at temperature T, from logits [tokens, vocabulary]: [tokens].

    Written as Σ p (t - s) + logsumexp s - logsumexp t, for which autograd keeps two tensors of this size and not five.
    """
    t, s = cooled(teacher, temperature), cooled(student, temperature)
    difference = (t.softmax(-1) * (t - s)).sum(-1)
    return temperature**2 * (difference + s.logsumexp(-1) - t.logsumexp(-1))


def reverse_kl(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(student ‖ teacher) at temperature T, from logits [tokens, vocabulary]: [tokens]."""
    p, q = cooled(teacher, temperature).log_softmax(-1), cooled(student, temperature).log_softmax(-1)
    return temperature**2 * (q.exp() * (q - p)).sum(-1)


def jensen_shannon(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · (KL(teacher ‖ m) + KL(student ‖ m)) / 2 with m their mean, at temperature T, from logits: [tokens]."""
    p, q = cooled(teacher, temperature).log_softmax(-1), cooled(student, temperature).log_softmax(-1)
    middle = torch.logaddexp(p, q) - math.log(2)
    return temperature**2 * 0.5 * (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(-1)


DIVERGENCES = {"forward_kl": forward_kl, "reverse_kl": reverse_kl, "jsd": jensen_shannon}
