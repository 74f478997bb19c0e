"""The weights of a hosted teacher inside vLLM, where the environment has it and there is a GPU.

Written against vLLM's documented offline API (`LLM`, `SamplingParams`, prompts as token ids); it has not been run.
vLLM reads a shared beginning once for texts; where a prompt's own log probabilities are asked for, as for labels, it
does not (`SamplingParams.skip_reading_prefix_cache`), so k labels cost k passes over the prompt.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput, Problem
from teacher_inference.settings import Sampling
from teacher_inference.teacher import CUT, Answer, Ask, Sink

ROWS = 512  # questions handed over at a time: their answers are on disk before the next


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


def label_parameters() -> dict[str, Any]:
    """Arguments of `SamplingParams` that score a prompt: the log probability of each of its tokens, nothing drawn."""
    return {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": 0, "detokenize": False}


def label_score(prompt_logprobs: Sequence[Mapping[int, Any] | None], label: Sequence[int]) -> float:
    """log P(label | prompt), from the `prompt_logprobs` of both together: one mapping of token to `Logprob` a place."""
    places = prompt_logprobs[-len(label) :]
    return sum(float(place[token].logprob) for place, token in zip(places, label, strict=True) if place is not None)


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
        self.llm: Any = vllm.LLM(model=source, dtype="bfloat16", seed=sampling.seed or 0, enable_prefix_caching=True)
        self.context = int(self.llm.llm_engine.model_config.max_model_len)
        self.ends = sorted({*end_ids(self.tokenizer), int(self.tokenizer.eos_token_id)})

    def answers(self, window: Sequence[Ask], sink: Sink) -> Iterator[list[tuple[Ask, Answer]]]:
        """Answers to all questions of a window that fit the model's context, `ROWS` at a time."""
        from shared.chat import prompt_ids

        fitting: list[tuple[Ask, list[int]]] = []
        for ask in window:
            ids = prompt_ids(self.tokenizer, ask.question.messages)
            room = 1 if ask.question.direct else self.sampling.max_tokens
            if len(ids) + room > self.context:
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
        from shared.labels import label_ids
        from teacher_inference.hosted import label_answer

        labels = [label_ids(self.tokenizer, ask.question.candidates) for ask, _ in asks]
        if any(len({tuple(label) for label in row}) < len(row) or not all(row) for row in labels):
            raise InvalidInput(Problem("the model's tokenizer cannot tell some labels apart", field="task.labels"))
        prompts = [ids + label for (_, ids), row in zip(asks, labels, strict=True) for label in row]
        outputs = iter(self._run(prompts, self.parameters(**label_parameters())))
        answers = []
        for (ask, ids), row in zip(asks, labels, strict=True):
            scores = [label_score(next(outputs).prompt_logprobs, label) for label in row]
            answers.append((ask, label_answer(ask.question.candidates, scores, len(ids))))
        return answers

    def _run(self, prompts: Sequence[Sequence[int]], parameters: Any) -> Sequence[Any]:
        given = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs: Sequence[Any] = self.llm.generate(given, parameters, use_tqdm=False)
        return outputs
