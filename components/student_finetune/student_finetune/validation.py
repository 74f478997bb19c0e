"""How good the student is on the validation rows, whose answers are the user's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from shared.chat import prompt_ids
from shared.generate import length_batches
from shared.labels import label_ids, label_logprobs
from shared.tasks import LabelTask, Task
from student_finetune.collate import Collator
from student_finetune.data import Encoder, Example, Located
from student_finetune.reading import read

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS = 32


class Validation(Protocol):
    """A number an epoch: `metric` names it, `sign` is 1 where more is better and -1 where less is."""

    metric: str
    sign: int

    def score(self, model: PreTrainedModel) -> float: ...


def make_validation(
    rows: Sequence[Located], task: Task, encoder: Encoder, tokenizer: PreTrainedTokenizerBase
) -> Validation | None:
    """Accuracy for tasks answered by a label, the answers' loss for the others; None without rows that fit."""
    if not rows:
        return None
    if isinstance(task, LabelTask):
        return LabelAccuracy(rows, task, tokenizer)
    examples = encoder.encode_all(rows, required=False)
    return AnswerLoss(examples, int(tokenizer.pad_token_id)) if examples else None


class LabelAccuracy:
    """The share of rows whose likeliest candidate is the reference."""

    metric, sign = "accuracy", 1

    def __init__(self, rows: Iterable[Located], task: LabelTask, tokenizer: PreTrainedTokenizerBase) -> None:
        self.pad_id = int(tokenizer.pad_token_id)
        # label_logprobs scores one set of labels a batch
        groups: dict[tuple[str, ...], list[tuple[list[int], str]]] = defaultdict(list)
        for located in rows:
            prompt = located.row.prompt
            groups[task.candidates(prompt)].append((prompt_ids(tokenizer, prompt), str(located.row.reference)))
        self.groups = [(labels, label_ids(tokenizer, labels), items) for labels, items in groups.items()]
        self.rows = sum(len(items) for items in groups.values())

    @torch.inference_mode()
    def score(self, model: PreTrainedModel) -> float:
        right = 0
        for labels, ids, items in self.groups:
            prompts = [prompt for prompt, _ in items]
            for batch in length_batches(prompts, ROWS):
                scores = label_logprobs(model, [prompts[i] for i in batch], ids, self.pad_id)
                said = (labels[best] for best in scores.argmax(1).tolist())
                right += sum(label == items[i][1] for label, i in zip(said, batch, strict=True))
        return right / self.rows


class AnswerLoss:
    """The mean cross-entropy of the answers' tokens."""

    metric, sign = "loss", -1

    def __init__(self, examples: Sequence[Example], pad_id: int) -> None:
        self.examples, self.collate = examples, Collator(pad_id)

    @torch.inference_mode()
    def score(self, model: PreTrainedModel) -> float:
        total, count = 0.0, 0
        for indices in length_batches([[*e.prompt, *e.answer] for e in self.examples], ROWS):
            batch = {k: v.to(model.device) for k, v in self.collate([self.examples[i] for i in indices]).items()}
            logprobs = read(model, batch).logprobs[batch["answer_asked"]]
            total -= float(logprobs.sum())
            count += len(logprobs)
        return total / count
