"""A teacher whose weights are at hand, read while the student learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from shared.chat import end_ids, prompt_ids
from shared.errors import InvalidInput, Problem
from shared.examples import shown
from shared.rows import Row
from shared.tasks import Task
from shared.weights import load_model, load_tokenizer
from student_finetune.reading import Batch, OutputLayer, hidden_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEPT = 2**30
"""Bytes of hidden states that are kept from the first epoch for the others."""


class HostedTeacher:
    """Reads the answers after the question as it was put to the teacher, at the answers' positions only.

    Its layers run once for each row: their hidden states do not change while the student learns, so they are kept (up
    to `KEPT` bytes), and from the second epoch on only the output layer is computed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        student: PreTrainedTokenizerBase,
        task: Task,
        examples: Sequence[Row] = (),
        few_shot: int = 0,
    ) -> None:
        self.model, self.tokenizer, self.task = model, tokenizer, task
        self.examples, self.few_shot = examples, few_shot
        self.shared = shared_vocabulary(student, tokenizer)
        self.layer = OutputLayer(model)
        self.kept: dict[int, torch.Tensor] = {}
        self.room = KEPT

    @staticmethod
    def load(
        source: str, student: PreTrainedTokenizerBase, task: Task, examples: Sequence[Row], few_shot: int
    ) -> HostedTeacher:
        tokenizer = load_tokenizer(source)
        shared_vocabulary(student, tokenizer)  # refuses before the weights are read
        return HostedTeacher(load_model(source), tokenizer, student, task, examples, few_shot)

    def question(self, row: Row) -> tuple[int, ...]:
        """Token ids of the row's question as the teacher was asked it."""
        examples = shown(self.examples, row, self.few_shot)
        return tuple(prompt_ids(self.tokenizer, self.task.teacher_messages(row.prompt, examples)))

    @torch.no_grad()
    def hidden_states(self, batch: Batch) -> torch.Tensor:
        """At the positions that predict the batch's answer tokens, in their order: [answer tokens, hidden size]."""
        rows = batch["rows"].tolist()
        if all(row in self.kept for row in rows):
            return torch.cat([self.kept[row] for row in rows]).to(self.model.device)
        states = hidden_states(self.model, {"input_ids": batch["asked_ids"]}, batch["asked_kept"])
        for row, own in zip(rows, torch.split(states, batch["answer_lengths"].tolist()), strict=True):
            size = own.numel() * own.element_size()
            if row not in self.kept and size <= self.room:
                self.room -= size
                self.kept[row] = own.to("cpu", copy=True)
        return states

    @torch.no_grad()
    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """[positions, hidden size] -> [positions, vocabulary], float32."""
        return self.layer(states).float()


def shared_vocabulary(student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase) -> int:
    """How many first tokens of both vocabularies are the same; raises InvalidInput unless these are all of one.

    Models of one family may have rows of padding, or special tokens, after the tokens that they share.
    """
    vocabularies = [{number: token for token, number in each.get_vocab().items()} for each in (student, teacher)]
    shared = min(max(vocabulary) for vocabulary in vocabularies) + 1
    differ = sum(vocabularies[0].get(number) != vocabularies[1].get(number) for number in range(shared))
    ends = [each.convert_ids_to_tokens(end_ids(each)) for each in (student, teacher)]
    if differ:
        reason = f"{differ} of the first {shared} tokens differ"
    elif ends[0] != ends[1]:
        reason = f"a turn ends with {ends[0][0]} for the student and with {ends[1][0]} for the teacher"
    else:
        return shared
    hint = "distillation.method: response, or label_logits for a task with labels"
    raise InvalidInput(
        Problem(f"teacher and student do not share their tokens: {reason}", None, None, "distillation.method", hint)
    )
