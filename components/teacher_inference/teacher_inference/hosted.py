"""A teacher whose weights are at hand."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shared.errors import InvalidInput, Problem
from teacher_inference.fingerprint import fingerprint
from teacher_inference.settings import Sampling
from teacher_inference.teacher import CUT, Answer, Ask, Asks, Question, Sink

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from teacher_inference.with_vllm import VllmModel

WINDOW = 4096  # questions held in memory and ordered by length together
LABEL_TOKENS = {"cpu": 1024, "cuda": 16384}  # of one label batch; see docs/teacher_inference.md
TEXT_ROWS = 16


@dataclass(frozen=True)
class Prompt:
    """A question as token ids."""

    ask: Ask
    ids: Sequence[int]


class HostedTeacher:
    """Answers label questions by their exact probabilities, others by generated text.

    The weights are loaded with the first question, so a run that finds all answers in the store loads none.
    """

    kind: Literal["hosted"] = "hosted"

    def __init__(self, folder: Path | None, model_id: str | None, sampling: Sampling) -> None:
        self.folder, self.model_id, self.sampling = folder, model_id, sampling
        self.name = model_id or (folder.name if folder else "")
        self.origin = fingerprint(folder) if folder else f"id:{model_id}"

    def request(self, question: Question, sample: int) -> Mapping[str, object]:
        if question.direct:
            return {"messages": question.messages, "labels": question.candidates}
        none = {"temperature": None, "top_p": None, "seed": None}
        drawn = none | self.sampling.drawn(sample)
        return {"messages": question.messages, "max_tokens": self.sampling.max_tokens, **drawn}

    def ask(self, asks: Asks, sink: Sink) -> None:
        first = asks.take()
        if first is None:
            return
        # on a busy machine, threads that spin while they wait cost more than they gain; read when torch is loaded
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        scorer = model_class()(self.folder, self.model_id, self.sampling)
        window = [first]
        while window := window + list(itertools.islice(iter(asks.take, None), WINDOW - len(window))):
            for answers in scorer.answers(window, sink):
                sink.write(answers)
                sink.sync()
                sink.count(answers)
            window = []


def model_class() -> type[VllmModel] | type[TorchModel]:
    """vLLM where the environment has it and there is a GPU, else transformers."""
    from teacher_inference.with_vllm import VllmModel, available

    return VllmModel if available() else TorchModel


class TorchModel:
    """The loaded weights at work."""

    def __init__(self, folder: Path | None, model_id: str | None, sampling: Sampling) -> None:
        import torch

        from shared.weights import load_model, load_tokenizer, locate

        source = locate(folder, model_id)
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(source)
        self.model: PreTrainedModel = load_model(source)
        self.sampling = sampling
        self.context = int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)

    def answers(self, window: Sequence[Ask], sink: Sink) -> Iterator[list[tuple[Ask, Answer]]]:
        """Answers to all questions of a window that fit the model's context, a batch at a time."""
        from shared.chat import prompt_ids

        prompts = [Prompt(ask, prompt_ids(self.tokenizer, ask.question.messages)) for ask in window]
        labels: dict[tuple[str, ...], list[Prompt]] = {}
        texts: dict[float, list[Prompt]] = {}
        for prompt in prompts:
            question = prompt.ask.question
            candidates = question.candidates if question.direct else ()
            if len(prompt.ids) + (0 if candidates else self.sampling.max_tokens) > self.context:
                sink.fail(prompt.ask, f"longer than the model's context of {self.context} tokens")
            elif candidates:
                labels.setdefault(candidates, []).append(prompt)
            else:
                temperature = self.sampling.drawn(prompt.ask.sample).get("temperature", 0.0)
                texts.setdefault(temperature, []).append(prompt)
        for candidates, group in labels.items():
            yield from self._labels(candidates, group)
        for temperature, group in texts.items():
            yield from self._texts(temperature, group)

    def _labels(self, candidates: tuple[str, ...], prompts: Sequence[Prompt]) -> Iterator[list[tuple[Ask, Answer]]]:
        import torch

        from shared.beginning import Continued, common_beginning
        from shared.generate import length_batches
        from shared.labels import label_logprobs

        labels = distinct_ids(self.tokenizer, candidates)
        with torch.inference_mode():
            beginning = common_beginning([prompt.ids for prompt in prompts])
            model: Any = Continued.of(self.model, beginning)
            start = len(beginning) if model else 0
            rests = [prompt.ids[start:] for prompt in prompts]
            pad = int(self.tokenizer.pad_token_id)
            tokens, tail = LABEL_TOKENS[self.model.device.type], sum(len(ids) - 1 for ids in labels)
            for batch in length_batches(rests, tokens=tokens, tail=tail):
                scores = label_logprobs(model or self.model, [rests[index] for index in batch], labels, pad).tolist()
                yield [
                    (prompts[index].ask, label_answer(candidates, row, len(prompts[index].ids)))
                    for index, row in zip(batch, scores, strict=True)
                ]

    def _texts(self, temperature: float, prompts: Sequence[Prompt]) -> Iterator[list[tuple[Ask, Answer]]]:
        from shared import generate

        sampling = generate.Sampling(
            temperature=temperature,
            top_p=1.0 if self.sampling.top_p is None else self.sampling.top_p,
            max_tokens=self.sampling.max_tokens,
        )
        ids = [prompt.ids for prompt in prompts]
        for batch in generate.generate(self.model, self.tokenizer, ids, sampling, TEXT_ROWS):
            yield [
                (
                    prompts[text.index].ask,
                    Answer(text.text, "stop" if text.finished else CUT, text.prompt_tokens, text.tokens),
                )
                for text in batch
            ]


def distinct_ids(tokenizer: PreTrainedTokenizerBase, candidates: Sequence[str]) -> list[list[int]]:
    """Token ids of each candidate; raises InvalidInput where the tokenizer cannot tell some apart."""
    from shared.labels import label_ids

    labels = label_ids(tokenizer, candidates)
    if len({tuple(ids) for ids in labels}) < len(labels) or not all(labels):
        raise InvalidInput(Problem("the model's tokenizer cannot tell some labels apart", field="task.labels"))
    return labels


def label_answer(candidates: Sequence[str], scores: Sequence[float], prompt_tokens: int) -> Answer:
    """The likeliest candidate and the log probabilities of all."""
    if not all(map(math.isfinite, scores)):
        raise InvalidInput("the teacher's weights give probabilities that are not numbers")
    logprobs = dict(zip(candidates, scores, strict=True))
    return Answer(max(logprobs, key=logprobs.__getitem__), prompt_tokens=prompt_tokens, label_logprobs=logprobs)
