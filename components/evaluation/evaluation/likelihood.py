"""How likely a model finds the reference answers: one forward pass, batched by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from evaluation.answering import Asker

from shared.chat import answer_ids
from shared.generate import length_batches
from shared.rows import Row

BATCH = 16
CELLS = 1 << 26  # logits held at once: 256 MiB

Likelihood = tuple[float, int, int]


def likelihoods(asker: Asker, rows: Sequence[Row]) -> list[Likelihood | None]:
    """(nats, tokens, bytes) of each row's reference given its prompt.

    None where there is no reference, where the answer is chosen among candidates, or where it has no place in the
    model's window.
    """
    texts: dict[int, tuple[list[int], list[int]]] = {}
    for index, row in enumerate(rows):
        if row.reference and not asker.task.candidates(row.prompt):
            answer = answer_ids(asker.tokenizer, row.reference)
            if answer and (asker.window is None or len(answer) <= asker.window // 2):
                texts[index] = asker.prompt(row, len(answer))[0], answer
    found: list[Likelihood | None] = [None] * len(rows)
    places = list(texts)
    together = [[*prompt, *answer] for prompt, answer in texts.values()]
    longest = max((len(answer) for _, answer in texts.values()), default=1)
    vocabulary = len(asker.tokenizer)
    for batch in length_batches(together, max(1, min(BATCH, CELLS // (vocabulary * longest)))):
        answers = [texts[places[index]][1] for index in batch]
        nats = _nats(asker.model, [together[index] for index in batch], answers, int(asker.tokenizer.pad_token_id))
        for index, answer, value in zip(batch, answers, nats, strict=True):
            reference = rows[places[index]].reference or ""
            found[places[index]] = value, len(answer), len(reference.encode())
    return found


@torch.inference_mode()
def _nats(model: Any, texts: Sequence[list[int]], answers: Sequence[list[int]], pad: int) -> list[float]:
    """−log P(answer | what stands before it) of texts that end with their answers."""
    width = max(map(len, texts))
    inputs = torch.tensor([[pad] * (width - len(text)) + text for text in texts]).to(model.device)
    attention = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts]).to(model.device)
    logits = model(
        input_ids=inputs,
        attention_mask=attention,
        position_ids=(attention.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=1 + max(map(len, answers)),
        use_cache=False,
    ).logits
    return [
        float(
            torch.nn.functional.cross_entropy(row[-1 - len(answer) : -1].float(), ids[-len(answer) :], reduction="sum")
        )
        for row, ids, answer in zip(logits, inputs, answers, strict=True)
    ]
