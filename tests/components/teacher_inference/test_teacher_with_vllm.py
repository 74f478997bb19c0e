"""When vLLM is chosen, and what it is asked for.  vLLM itself needs a GPU: nothing here shows that it works."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from teacher_inference import hosted, with_vllm
from teacher_inference.settings import Sampling

# the parameters of vLLM's SamplingParams that its documentation names, as far as they are used here
DOCUMENTED = {"temperature", "top_p", "seed", "max_tokens", "stop_token_ids", "prompt_logprobs", "detokenize"}


@dataclass(frozen=True)
class Logprob:
    logprob: float


@pytest.mark.parametrize(("installed", "gpu"), [(True, True), (True, False), (False, True), (False, False)])
def test_it_takes_both_vllm_and_a_gpu(monkeypatch: pytest.MonkeyPatch, installed: bool, gpu: bool) -> None:
    find: Any = importlib.util.find_spec
    spec = find("json") if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: spec if name == "vllm" else find(name, *rest))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    chosen = with_vllm.VllmModel if installed and gpu else hosted.TorchModel
    assert hosted.model_class() is chosen


def test_arguments_are_documented_ones_and_say_what_the_job_says() -> None:
    given = with_vllm.text_parameters(Sampling(temperature=0.7, top_p=0.9, max_tokens=33, seed=5), 2, [1, 7])
    assert given.keys() <= DOCUMENTED
    assert with_vllm.label_parameters().keys() <= DOCUMENTED
    assert (given["temperature"], given["top_p"], given["max_tokens"], given["seed"]) == (0.7, 0.9, 33, 7)
    assert with_vllm.text_parameters(Sampling(temperature=None), 0, [1])["temperature"] == 0.0


def test_a_label_is_scored_by_its_own_tokens() -> None:
    places = [None, {4: Logprob(-9.0)}, {5: Logprob(math.log(0.5))}, {6: Logprob(math.log(0.25)), 8: Logprob(-1.0)}]
    assert with_vllm.label_score(places, [5, 6]) == pytest.approx(math.log(0.125))
