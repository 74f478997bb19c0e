"""A batch of texts in the making: rows leave when their text ends, and new prompts take their places.

In a batch that waits for its longest text, the places of finished rows are computed for nothing; a decoding step
costs nearly the same whatever the number of rows, so a place that is filled again is a row won.  And a step writes its
keys and values into room kept for them, where transformers' own cache copies all of them for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

SPARE = 64  # tokens of room that a layer is given at a time
# what `slots_fit` understands of a model's generation settings; anything else is left to transformers
PLAIN = {
    "bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature", "top_p", "top_k", "max_length",
    "max_new_tokens", "use_cache", "output_attentions", "output_hidden_states", "transformers_version",
    "_from_model_config",
}  # fmt: skip


def slots_fit(model: Any) -> bool:
    """Whether a model's state is all keys and values of all layers, and its settings ask for plain decoding."""
    settings = model.generation_config
    layers = DynamicCache(config=model.config).layers
    if settings is None or not settings.to_diff_dict().keys() <= PLAIN or not model._supports_default_dynamic_cache():
        return False
    return all(type(layer) is DynamicLayer for layer in layers)


class Room(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values, [rows, heads, width, size] each, inside larger tensors."""

    space: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        width = self.get_seq_length()
        end = width + key_states.shape[-2]
        if self.space is None or end > self.space[0].shape[-2]:
            self.space = _widened(key_states, self.keys, width, end), _widened(value_states, self.values, width, end)
        for space, states in zip(self.space, (key_states, value_states), strict=True):
            space[:, :, width:end] = states
        self.keys, self.values = self.space[0][:, :, :end], self.space[1][:, :, :end]
        return self.keys, self.values

    def replace(self, rows: torch.Tensor, other: Room | None, width: int) -> None:
        """Keep `rows` and append those of `other`; all end at column `width` from now on."""
        states = []
        for name in ("keys", "values"):
            mine: torch.Tensor = getattr(self, name)
            parts: list[torch.Tensor] = [mine[rows]] if other is None else [mine[rows], getattr(other, name)]
            made = mine.new_zeros(sum(map(len, parts)), mine.shape[1], width + SPARE, mine.shape[-1])
            begin = 0
            for part in parts:
                kept = min(width, part.shape[-2])
                made[begin : begin + len(part), :, width - kept : width] = part[:, :, part.shape[-2] - kept :]
                begin += len(part)
            states.append(made)
        self.space = states[0], states[1]
        self.keys, self.values = self.space[0][:, :, :width], self.space[1][:, :, :width]


def _widened(states: torch.Tensor, held: torch.Tensor | None, held_width: int, width: int) -> torch.Tensor:
    """Zeros like `states` with room for `width` columns and more, beginning with what is held already."""
    made = states.new_zeros(*states.shape[:2], width + SPARE, states.shape[-1])
    if held is not None and held_width:
        made[:, :, :held_width] = held
    return made


@dataclass
class Text:
    """One text in the making; `length` counts its tokens that the model has read, prompt included."""

    index: int
    length: int
    tokens: list[int] = field(default_factory=list)
    done: bool = False


class Slots:
    """The rows of one batch, each row's tokens right-aligned in the cache.

    `choose` takes logits [rows, vocabulary] to the next tokens [rows].
    """

    def __init__(self, model: Any, choose: Any, pad_id: int, ends: set[int], max_tokens: int) -> None:
        self.model, self.choose, self.pad_id, self.ends, self.max_tokens = model, choose, pad_id, ends, max_tokens
        self.texts: list[Text] = []
        self.cache: Any = None

    @property
    def done(self) -> int:
        return sum(text.done for text in self.texts)

    def fill(self, prompts: Sequence[tuple[int, Sequence[int]]]) -> list[Text]:
        """Take the finished texts out and begin those of `prompts` (index, token ids); returns the finished."""
        alive = [place for place, text in enumerate(self.texts) if not text.done]
        finished = [text for text in self.texts if text.done]
        texts = [self.texts[place] for place in alive]
        joining = [Text(index, len(ids)) for index, ids in prompts]
        cache = self._read([ids for _, ids in prompts], joining) if joining else None
        if texts:
            width = max(text.length for text in texts + joining)
            rows = torch.tensor(alive, device=self.model.device)
            for place, layer in enumerate(self.cache.layers):
                layer.replace(rows, cache and cache.layers[place], width)
        else:
            self.cache = cache
        self.texts = texts + joining
        return finished

    def step(self) -> None:
        """One more token for every text."""
        width = self.cache.get_seq_length() + 1
        last = [text.tokens[-1] for text in self.texts]
        lengths = [text.length for text in self.texts]
        logits = self._forward([[token] for token in last], lengths, width, self.cache)
        for text in self.texts:
            text.length += not text.done
        self._take(self.texts, logits)

    def _read(self, prompts: Sequence[Sequence[int]], texts: Sequence[Text]) -> Any:
        """The cache after `prompts`, whose first tokens are added to `texts`."""
        width = max(map(len, prompts))
        cache = DynamicCache()
        make: Any = Room
        cache.layers = [make() for _ in range(self.model.config.get_text_config(decoder=True).num_hidden_layers)]
        rows = [[self.pad_id] * (width - len(ids)) + list(ids) for ids in prompts]
        logits = self._forward(rows, [len(ids) - width for ids in prompts], width, cache)
        self._take(texts, logits)
        return cache

    def _forward(self, rows: Sequence[Sequence[int]], first: Sequence[int], width: int, cache: Any) -> torch.Tensor:
        """Logits after `rows` of tokens; `first` are the positions of their first columns, negative in padding."""
        device = self.model.device
        ids = torch.tensor(rows, device=device)
        positions = torch.tensor(first, device=device)[:, None] + torch.arange(ids.shape[1], device=device)
        begin = width - positions[:, -1:] - 1  # where each row's tokens begin in the cache
        mask = torch.arange(width, device=device)[None] >= begin
        output = self.model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions.clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _take(self, texts: Sequence[Text], logits: torch.Tensor) -> None:
        for text, token in zip(texts, self.choose(logits).tolist(), strict=True):
            if not text.done:
                text.tokens.append(token)
                text.done = token in self.ends or len(text.tokens) == self.max_tokens
