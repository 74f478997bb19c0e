"""The weights of a hosted teacher inside vLLM, where the environment has it and there is a GPU.

vLLM keeps what it has read, in blocks of tokens, and reads a beginning that it knows no second time.  So the labels of
a prompt, and prompts that begin alike, cost little more than one pass.  It does not do so where a prompt's own log
probabilities are asked for; hence a label is scored by what follows its beginnings, never as a part of the prompt.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacher_inference.settings import Sampling
from teacher_inference.teacher import CUT, Answer, Ask, Sink

ROWS = 512  # questions handed over at a time: their answers are on disk before the next
NEXT = 128  # tokens that `SamplingParams.logprob_token_ids` takes


def available() -> bool:
    """Whether vLLM can be imported and has a GPU to work on."""
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


def text_parameters(sampling: Sampling, sample: int, ends: Sequence[int]) -> dict[str, Any]:
    """Arguments of `SamplingParams` for a text; what the model's own generation settings say does not count."""
    drawn = {"temperature": 0.0, **sampling.drawn(sample)}
    return {**drawn, "max_tokens": sampling.max_tokens, "stop_token_ids": list(ends)}


def label_parameters(tokens: Sequence[int]) -> dict[str, Any]:
    """Arguments of `SamplingParams` that give the log probability of each of `tokens` as the next one."""
    return {"temperature": 0.0, "max_tokens": 1, "logprob_token_ids": list(tokens), "detokenize": False}


def label_steps(labels: Sequence[Sequence[int]]) -> list[tuple[tuple[int, ...], list[int]]]:
    """What to ask behind a prompt: beginnings of labels, and the tokens that some label goes on with there.

    The empty beginning comes first; of more than `NEXT` tokens each `NEXT` are asked for by themselves.
    """
    following: dict[tuple[int, ...], dict[int, None]] = {}
    for label in labels:
        for place, token in enumerate(label):
            following.setdefault(tuple(label[:place]), {})[token] = None
    return [
        (beginning, list(tokens)[start : start + NEXT])
        for beginning, tokens in sorted(following.items(), key=lambda item: len(item[0]))
        for start in range(0, len(tokens), NEXT)
    ]


def label_scores(
    labels: Sequence[Sequence[int]], steps: Iterable[tuple[tuple[int, ...], Mapping[int, Any]]]
) -> list[float]:
    """log P(label | prompt) of each label: the sum over its tokens, of which `steps` has a `Logprob` by beginning."""
    found = {(beginning, token): one.logprob for beginning, tokens in steps for token, one in tokens.items()}
    return [math.fsum(found[tuple(label[:place]), token] for place, token in enumerate(label)) for label in labels]


class VllmModel:
    """The same as `hosted.TorchModel`, by vLLM; it batches and fills places again by itself."""

    def __init__(self, folder: Path | None, model_id: str | None, sampling: Sampling) -> None:
        import vllm

        from shared.chat import end_ids
        from shared.weights import load_tokenizer, locate

        source = locate(folder, model_id)
        self.tokenizer = load_tokenizer(source)
        self.sampling = sampling
        self.parameters: Any = vllm.SamplingParams
        # the longest context that the memory has room for, in the precision that the GPU has
        self.llm: Any = vllm.LLM(model=source, seed=sampling.seed or 0, max_model_len=-1, enable_prefix_caching=True)
        self.context = int(self.llm.llm_engine.model_config.max_model_len)
        self.labels: dict[tuple[str, ...], list[list[int]]] = {}
        self.ends = sorted({*end_ids(self.tokenizer), int(self.tokenizer.eos_token_id)})

    def answers(self, window: Sequence[Ask], sink: Sink) -> Iterator[list[tuple[Ask, Answer]]]:
        """Answers to all questions of a window that fit the model's context, `ROWS` at a time."""
        from shared.chat import prompt_ids

        fitting: list[tuple[Ask, list[int]]] = []
        for ask in window:
            ids = prompt_ids(self.tokenizer, ask.question.messages)
            longest = max(map(len, self._label_ids(ask))) if ask.question.direct else self.sampling.max_tokens
            if len(ids) + longest > self.context:
                sink.fail(ask, f"longer than the model's context of {self.context} tokens")
            else:
                fitting.append((ask, ids))
        for direct, answer in ((True, self._labels), (False, self._texts)):
            asks = [(ask, ids) for ask, ids in fitting if ask.question.direct is direct]
            for start in range(0, len(asks), ROWS):
                yield answer(asks[start : start + ROWS])

    def _texts(self, asks: Sequence[tuple[Ask, list[int]]]) -> list[tuple[Ask, Answer]]:
        parameters = [self.parameters(**text_parameters(self.sampling, ask.sample, self.ends)) for ask, _ in asks]
        outputs = self._run([ids for _, ids in asks], parameters)
        answers = []
        for (ask, ids), output in zip(asks, outputs, strict=True):
            made = output.outputs[0]
            finish = CUT if made.finish_reason == "length" else "stop"
            answers.append((ask, Answer(made.text.strip(), finish, len(ids), len(made.token_ids))))
        return answers

    def _labels(self, asks: Sequence[tuple[Ask, list[int]]]) -> list[tuple[Ask, Answer]]:
        from teacher_inference.hosted import label_answer

        labels = [self._label_ids(ask) for ask, _ in asks]
        steps = [label_steps(row) for row in labels]
        prompts = [[*ids, *begin] for (_, ids), row in zip(asks, steps, strict=True) for begin, _ in row]
        parameters = [self.parameters(**label_parameters(tokens)) for row in steps for _, tokens in row]
        outputs = iter(self._run(prompts, parameters))
        answers = []
        for (ask, ids), row, asked in zip(asks, labels, steps, strict=True):
            scores = label_scores(row, [(begin, next(outputs).outputs[0].logprobs[0]) for begin, _ in asked])
            answers.append((ask, label_answer(ask.question.candidates, scores, len(ids))))
        return answers

    def _label_ids(self, ask: Ask) -> list[list[int]]:
        from teacher_inference.hosted import distinct_ids

        candidates = ask.question.candidates
        if candidates not in self.labels:
            self.labels[candidates] = distinct_ids(self.tokenizer, candidates)
        return self.labels[candidates]

    def _run(self, prompts: Sequence[Sequence[int]], parameters: Any) -> Sequence[Any]:
        given = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs: Sequence[Any] = self.llm.generate(given, parameters, use_tqdm=False)
        return outputs
