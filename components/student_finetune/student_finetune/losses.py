"""What the student is trained to minimise, as pure functions of log probabilities.

A loss is a sum of terms, and each term is a *sum over items* (answer tokens, labelled rows) divided by the number of
such items in the whole optimiser step.  So gradients do not depend on how a step is cut into batches.  A further
signal (token-level logits, hidden states) is one more function here and one more entry in `Objective.terms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

ABSENT = -1e9
"""Log probability of a candidate that a row does not have; finite, so that 0 * ABSENT is 0 and not NaN."""


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


@dataclass(frozen=True)
class Objective:
    """(1 - weight) · CE + weight · T² · KL for rows with teacher probabilities, CE for the others."""

    temperature: float = 1.0
    weight: float = 0.0

    def terms(self, logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each term summed over the items of one batch; `logits` [positions, vocabulary] (see `collate`)."""
        weights = 1.0 - self.weight * batch["answer_has_teacher"].float()
        nll = answer_nll(token_logprobs(logits, batch["answer_at"], batch["answer_tokens"]), weights)
        terms = {"tokens": nll}
        if "teacher" in batch:
            teacher = batch["teacher"]
            logprobs = token_logprobs(logits, batch["candidate_at"], batch["candidate_tokens"])
            student = candidate_logprobs(logprobs, batch["candidate_cells"], (teacher.shape[0], teacher.shape[1]))
            terms["labelled"] = self.weight * label_kl(student, teacher, self.temperature)
        return terms


def item_counts(batch: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """By how many items of this batch each term of `Objective.terms` is to be divided."""
    return {"tokens": len(batch["answer_tokens"]), "labelled": len(batch["teacher"]) if "teacher" in batch else 0}
