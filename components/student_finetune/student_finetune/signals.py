"""What a student can learn from beside the answers' text, and how several of them are mixed.

A signal is one thing that a teacher tells of a row.  It adds to the row's example what it needs, says which answer
tokens it teaches, and makes a loss of what the student says.  Its loss is a *sum over items* (tokens, rows), and its
`items` their number, by which the sum over a whole optimiser step is divided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from shared.rows import Row
from student_finetune.data import Example
from student_finetune.losses import DIVERGENCES, answer_nll, candidate_logprobs, forward_kl, label_kl, tail_kl
from student_finetune.reading import Batch, Probe, Reading, read
from student_finetune.settings import Distillation
from student_finetune.summary import Summary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from student_finetune.align import Aligner
    from student_finetune.hosted import HostedTeacher

TEXT = "response"


class Signal(Protocol):
    """One way of teaching; hidden states or answers of the student's own would be further ones."""

    name: str

    def encode(self, row: Row, example: Example) -> Example:
        """The example with what the teacher says of it."""

    def meet(self, student: Any) -> None:
        """Get ready for the student, once, before its training."""

    def taught(self, batch: Batch) -> torch.Tensor:
        """Which answer tokens it teaches: bool [answer tokens].  The others are learnt from the text instead."""

    def items(self, batch: Batch) -> int:
        """By how many items of this batch the loss is to be divided."""

    def probe(self, batch: Batch) -> Probe | None:
        """What it has to see of whole logits, if the log probabilities of the tokens asked for are not enough."""

    def loss(self, reading: Reading, batch: Batch) -> torch.Tensor:
        """The loss, summed over the items."""


class LabelProbabilities:
    """`label_logits`: the teacher's probabilities of the row's candidate answers."""

    name = "label_logits"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, temperature: float) -> None:
        self.tokenizer, self.temperature = tokenizer, temperature
        self._ids: dict[tuple[str, ...], tuple[tuple[int, ...], ...]] = {}

    def encode(self, row: Row, example: Example) -> Example:
        if not row.label_logprobs:
            return example
        labels = tuple(row.label_logprobs)
        return replace(example, candidates=self._candidates(labels), teacher=tuple(row.label_logprobs.values()))

    def _candidates(self, labels: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        from shared.labels import label_ids

        if labels not in self._ids:
            self._ids[labels] = tuple(tuple(ids) for ids in label_ids(self.tokenizer, labels))
        return self._ids[labels]

    def meet(self, student: Any) -> None:
        pass

    def taught(self, batch: Batch) -> torch.Tensor:
        return batch["answer_labelled"]

    def items(self, batch: Batch) -> int:
        return len(batch["teacher"])

    def probe(self, batch: Batch) -> Probe | None:
        return None

    def loss(self, reading: Reading, batch: Batch) -> torch.Tensor:
        teacher = batch["teacher"]
        logprobs = reading.logprobs[batch["candidate_asked"]]
        student = candidate_logprobs(logprobs, batch["candidate_cells"], (teacher.shape[0], teacher.shape[1]))
        return label_kl(student, teacher, self.temperature)


class ListedTokens:
    """`logits` of an endpoint: the log probabilities of the likeliest tokens that came with the teacher's answer."""

    name = "logits"

    def __init__(self, aligner: Aligner) -> None:
        self.aligner = aligner

    def encode(self, row: Row, example: Example) -> Example:
        return replace(example, listed=self.aligner.align(row.answer or "", example.answer, row.token_logprobs or ()))

    def meet(self, student: Any) -> None:
        pass

    def taught(self, batch: Batch) -> torch.Tensor:
        return batch["answer_listed"]

    def items(self, batch: Batch) -> int:
        return int(batch["answer_listed"].sum())

    def probe(self, batch: Batch) -> Probe | None:
        return None

    def loss(self, reading: Reading, batch: Batch) -> torch.Tensor:
        teacher, asked = batch["listed"], batch["listed_asked"]
        present = asked >= 0
        # an absent token is given the teacher's own ABSENT: both have probability 0, and their difference is 0
        student = torch.where(present, reading.logprobs[asked.clamp(min=0)], teacher)
        return tail_kl(student, teacher).sum()


class WholeDistribution:
    """`logits` of a hosted teacher: its probabilities of the whole vocabulary, computed while the student learns."""

    name = "logits"

    def __init__(self, teacher: HostedTeacher, divergence: str, temperature: float) -> None:
        self.teacher, self.temperature = teacher, temperature
        self.divergence = DIVERGENCES[divergence]
        self.summary: Summary | None = None

    def encode(self, row: Row, example: Example) -> Example:
        return replace(example, asked=self.teacher.question(row))

    def taught(self, batch: Batch) -> torch.Tensor:
        return torch.ones_like(batch["answer_tokens"], dtype=torch.bool)

    def items(self, batch: Batch) -> int:
        return len(batch["answer_tokens"])

    def meet(self, student: Any) -> None:
        """Have the teacher sum up what it says once for this student, where that can be: see `summary`."""
        if self.divergence is forward_kl:
            self.summary = summary = Summary.of(student, self.teacher.shared, self.temperature)
            if summary:
                self.teacher.digest = lambda states: summary.of_teacher(states, self.teacher.logits)

    def probe(self, batch: Batch) -> Probe | None:
        told, shared, summary = self.teacher.tell(batch), self.teacher.shared, self.summary

        def differ(logits: torch.Tensor, states: torch.Tensor, where: slice) -> torch.Tensor:
            own = told[where]  # positions beyond the answers' are the candidates', not taught
            logits, states = logits[: len(own)], states[: len(own)]
            if summary:
                return summary.difference(logits, states, own)
            return self.divergence(logits[:, :shared], self.teacher.logits(own)[:, :shared], self.temperature)

        return differ

    def loss(self, reading: Reading, batch: Batch) -> torch.Tensor:
        return reading.probed[self.name].sum()


@dataclass(frozen=True)
class Objective:
    """The text's cross-entropy and the signals' losses, each by its share; the text's share is what they leave of 1.

    A token that a signal does not teach is learnt from the text by that signal's share, too.  During the first `ramp`
    of the training the signals' shares grow linearly from 0.
    """

    signals: tuple[Signal, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    ramp: float = 0.0

    def terms(self, model: Any, batch: Batch, progress: float = 1.0) -> dict[str, torch.Tensor]:
        """Each term, by its share, summed over the items of one batch; `progress` is the part of the steps done."""
        grown = min(1.0, progress / self.ramp) if self.ramp else 1.0
        shares = {signal.name: grown * self.shares[signal.name] for signal in self.signals}
        probes = {signal.name: probe for signal in self.signals if (probe := signal.probe(batch))}
        reading = read(model, batch, probes)
        weights = torch.ones(len(batch["answer_tokens"]), device=reading.logprobs.device)
        for signal in self.signals:
            weights = weights - shares[signal.name] * signal.taught(batch).float()
        terms = {TEXT: answer_nll(reading.logprobs[batch["answer_asked"]], weights)}
        for signal in self.signals:
            terms[signal.name] = shares[signal.name] * signal.loss(reading, batch)
        return terms

    def items(self, batch: Batch) -> dict[str, int]:
        """By how many items of this batch each term of `terms` is to be divided."""
        return {TEXT: len(batch["answer_tokens"]), **{signal.name: signal.items(batch) for signal in self.signals}}


def make_objective(
    distillation: Distillation,
    tokenizer: PreTrainedTokenizerBase,
    aligner: Aligner,
    teacher: HostedTeacher | None,
) -> Objective:
    """What `distillation` asks for; `logits` are the hosted teacher's where there is one, else the rows'."""
    signals = list[Signal]()
    if "label_logits" in distillation.shares:
        signals.append(LabelProbabilities(tokenizer, distillation.temperature))
    if "logits" in distillation.shares and teacher:
        signals.append(WholeDistribution(teacher, distillation.divergence, distillation.temperature))
    elif "logits" in distillation.shares:
        signals.append(ListedTokens(aligner))
    return Objective(tuple(signals), distillation.shares, distillation.ramp)
