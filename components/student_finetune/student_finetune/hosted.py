"""A teacher whose weights are at hand, read while the student learns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from shared.chat import end_ids, prompt_ids
from shared.errors import InvalidInput, Problem
from shared.examples import shown
from shared.rows import Row
from shared.tasks import Task
from shared.weights import load_model, load_tokenizer
from student_finetune.collate import padded, together
from student_finetune.reading import Batch, OutputLayer, hidden_states
from student_finetune.room import room

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class HostedTeacher:
    """Reads the answers after the question as it was put to the teacher, at the answers' positions only.

    Its layers run once for each row: their hidden states do not change while the student learns, so these, or what
    `digest` makes of them, are kept (see `room`) for the epochs after the first.
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
        self.room = room()
        self.packed = False
        self.digest: Callable[[torch.Tensor], torch.Tensor] = lambda states: states

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
    def tell(self, batch: Batch) -> torch.Tensor:
        """What `digest` makes of the hidden states that predict the batch's answer tokens: [answer tokens, size]."""
        numbers, answers = batch["rows"].tolist(), batch["answer_lengths"].tolist()
        asked = torch.split(batch["question"], batch["question_lengths"].tolist())
        new = [place for place, number in enumerate(numbers) if number not in self.kept]
        own: dict[int, torch.Tensor] = {}
        if new:
            lengths = [answers[place] for place in new]
            states = self.digest(self._read([asked[place].tolist() for place in new], lengths))
            own = dict(zip((numbers[place] for place in new), torch.split(states, lengths), strict=True))
        for number, value in own.items():
            size = value.numel() * value.element_size()
            if size <= self.room:
                self.room -= size
                self.kept[number] = value.to("cpu", copy=True)
        return torch.cat([own[n] if n in own else self.kept[n].to(self.model.device) for n in numbers])

    def _read(self, rows: Sequence[Sequence[int]], answers: Sequence[int]) -> torch.Tensor:
        """Hidden states of each row's last positions, as many as its answer has tokens."""
        width = max(map(len, rows))
        if self.packed:
            inputs, starts = together(rows), [0, *itertools.accumulate(map(len, rows))]
        else:
            inputs = {"input_ids": padded(rows, width, int(self.tokenizer.pad_token_id or 0))}
            starts = [width * number for number in range(len(rows))]
        ends = [start + len(row) for start, row in zip(starts, rows, strict=False)]
        kept = [place for end, answer in zip(ends, answers, strict=True) for place in range(end - answer, end)]
        device = self.model.device
        inputs = {name: value.to(device) for name, value in inputs.items()}
        return hidden_states(self.model, inputs, torch.tensor(kept, device=device))

    @torch.no_grad()
    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """[positions, hidden size] -> [positions, vocabulary], float32."""
        return self.layer(states.to(self.layer.dtype)).float()


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
