"""Text from a local model: batched by length, stopping early, in the order that suits the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.beginning import Continued, common_beginning, forgets_rows
from shared.chat import end_ids
from shared.slots import Slots, slots_fit

LONG_BEGINNING = 0.25  # share of a prompt from which reading it once is worth more than a place filled again


@dataclass(frozen=True)
class Sampling:
    """How a text is drawn; temperature 0 takes the likeliest token each time."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256


@dataclass(frozen=True)
class Generated:
    """`index` is the prompt's place in the list given; `finished` is False when `max_tokens` cut the text."""

    index: int
    text: str
    prompt_tokens: int
    tokens: int
    finished: bool


def length_batches(
    prompts: Sequence[Sequence[int]], rows: int | None = None, *, tokens: int | None = None, tail: int = 0
) -> Iterator[list[int]]:
    """Indices of prompts in batches of about the same length, the longest first.

    A batch has at most `rows` rows and, where it has two or more, at most `tokens` tokens with padding and with `tail`
    more tokens a row.  Longest first: a batch that does not fit in memory fails at once, not at the end.
    """
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    while order:
        room = len(order) if tokens is None else tokens // (len(prompts[order[0]]) + tail)
        size = max(1, room if rows is None else min(rows, room))
        yield order[:size]
        order = order[size:]


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    rows: int = 16,
    tokens: int | None = None,
) -> Iterator[list[Generated]]:
    """Answers to `prompts` (token ids), some at a time, longest prompts first.

    A batch has at most `rows` rows and at most `tokens` tokens, those that may be written included.  A row that has
    finished leaves it; the next prompt takes its place, or, where the prompts share much, what all of them begin with
    is read once.
    """
    ends = {*end_ids(tokenizer), int(tokenizer.eos_token_id)}
    shared = common_beginning(prompts) if prompts else []
    batches = length_batches(prompts, rows, tokens=tokens, tail=sampling.max_tokens)
    places = len(next(batches, ()))
    average = sum(map(len, prompts)) / max(1, len(prompts))
    if places < len(prompts) and len(shared) < LONG_BEGINNING * average and slots_fit(model):
        yield from _refilled(model, tokenizer, prompts, sampling, places, ends)
        return
    continued = Continued.of(model, shared)
    beginning = continued.length if continued else 0
    for batch in length_batches(prompts, rows, tokens=tokens, tail=sampling.max_tokens):
        asked = [list(prompts[index]) for index in batch]
        ids, mask = _padded(asked, beginning, int(tokenizer.pad_token_id), model.device)
        cache = continued.cache(len(batch)) if continued else None
        written = _write(model, _Round(ids, mask, cache), sampling, ends, int(tokenizer.pad_token_id))
        yield [
            _generated(index, prompt, tokens, tokenizer, ends)
            for index, prompt, tokens in zip(batch, asked, written, strict=True)
        ]


def _refilled(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    rows: int,
    ends: set[int],
) -> Iterator[list[Generated]]:
    """One batch of `rows` places, which are filled again when a quarter of them is free."""
    waiting = iter([(index, prompts[index]) for batch in length_batches(prompts) for index in batch])
    pad = int(tokenizer.pad_token_id)
    slots = Slots(model, lambda logits: choose(logits, sampling), pad, ends, sampling.max_tokens)
    while True:
        free = rows - len(slots.texts) + slots.done
        if texts := slots.fill(list(islice(waiting, free))):
            yield [_generated(text.index, prompts[text.index], text.tokens, tokenizer, ends) for text in texts]
        if not slots.texts:
            return
        while 4 * slots.done < len(slots.texts):
            slots.step()


def choose(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The next tokens, [rows], of logits [rows, vocabulary]."""
    if sampling.temperature <= 0:
        return logits.argmax(-1)
    shares = (logits.float() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        ordered, places = shares.sort(-1, descending=True)
        # the likeliest tokens whose sum first reaches top_p (Holtzman et al., arXiv 1904.09751)
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= sampling.top_p, 0.0)
        shares = torch.zeros_like(shares).scatter(-1, places, ordered)
    return torch.multinomial(shares, 1)[:, 0]


@dataclass(frozen=True)
class _Round:
    """The rows that are still written: ids and mask [rows, width], and what the model remembers of them."""

    ids: torch.Tensor
    mask: torch.Tensor
    cache: Any

    def after(self, sequences: torch.Tensor, cache: Any, going: Sequence[int]) -> _Round:
        """The next round: the rows at `going`, with what was written to them.

        Without a cache that can forget rows, the model reads what remains again.
        """
        chosen = torch.tensor(going, dtype=torch.long, device=self.ids.device)
        mask = torch.nn.functional.pad(self.mask[chosen], (0, sequences.shape[1] - self.mask.shape[1]), value=1)
        if not forgets_rows(cache):
            return _Round(sequences[chosen], mask, None)
        cache.batch_select_indices(chosen)
        return _Round(sequences[chosen], mask, cache)


class _SomeFinished(StoppingCriteria):
    """Ends a round once a quarter of its rows has finished: the next one goes on without them."""

    def __init__(self, rows: int, ends: torch.Tensor) -> None:
        self.finished = torch.zeros(rows, dtype=torch.bool, device=ends.device)
        self.ends = ends

    def __call__(self, input_ids: torch.Tensor, scores: Any, **rest: Any) -> torch.Tensor:
        self.finished |= torch.isin(input_ids[:, -1], self.ends)
        return (4 * self.finished.sum() >= len(self.finished)).expand(len(self.finished))


def _padded(
    prompts: Sequence[Sequence[int]], beginning: int, pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [rows, width], padded after the first `beginning` tokens, which all rows share."""
    width = max(map(len, prompts))
    gaps = [width - len(prompt) for prompt in prompts]
    ids = [[*prompt[:beginning], *[pad] * gap, *prompt[beginning:]] for prompt, gap in zip(prompts, gaps, strict=True)]
    mask = [[1] * beginning + [0] * gap + [1] * (width - beginning - gap) for gap in gaps]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _write(model: Any, current: _Round, sampling: Sampling, ends: set[int], pad: int) -> list[list[int]]:
    """The tokens written to every row, its end token and what may stand behind it included."""
    drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    how = drawn if sampling.temperature > 0 else {"do_sample": False, "temperature": None, "top_p": None}
    tokens: list[list[int]] = [[] for _ in current.ids]
    at_work = list(range(len(tokens)))
    leave = True
    while at_work:
        some = _SomeFinished(len(at_work), torch.tensor(sorted(ends), device=current.ids.device))
        output = model.generate(
            input_ids=current.ids,
            attention_mask=current.mask,
            past_key_values=current.cache,
            max_new_tokens=sampling.max_tokens - len(tokens[at_work[0]]),
            stopping_criteria=[some] if leave else None,
            eos_token_id=sorted(ends),
            pad_token_id=pad,
            return_dict_in_generate=True,
            **how,
        )
        for row, new in zip(at_work, output.sequences[:, current.ids.shape[1] :].tolist(), strict=True):
            tokens[row] += new
        going = [
            place
            for place, row in enumerate(at_work)
            if len(tokens[row]) < sampling.max_tokens and ends.isdisjoint(tokens[row])
        ]
        leave = forgets_rows(output.past_key_values)
        current = current.after(output.sequences, output.past_key_values, going)
        at_work = [at_work[place] for place in going]
    return tokens


def _generated(
    index: int, prompt: Sequence[int], tokens: list[int], tokenizer: PreTrainedTokenizerBase, ends: set[int]
) -> Generated:
    stop = next((place for place, token in enumerate(tokens) if token in ends), None)
    text = str(tokenizer.decode(tokens[:stop], skip_special_tokens=True)).strip()
    return Generated(index, text, len(prompt), len(tokens) if stop is None else stop + 1, stop is not None)
