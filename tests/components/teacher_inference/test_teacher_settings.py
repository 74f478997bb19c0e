from __future__ import annotations

import json
from typing import Any

import pytest
from teacher_bench import TOPICS, Bench

from shared.errors import InvalidInput
from teacher_inference.main import parse
from teacher_inference.settings import Auth, EndpointSettings, Limits, Prices, Sampling


def test_defaults() -> None:
    endpoint = EndpointSettings.from_json('{"url": "https://host/v1/", "model": "gpt"}')
    assert endpoint == EndpointSettings("https://host/v1", "gpt")
    assert Sampling.from_json("{}") == Sampling()
    assert Limits.from_json("{}") == Limits()


def test_everything_given() -> None:
    value = {
        "url": "https://x.openai.azure.com/openai/deployments/d",
        "model": "d",
        "auth": {"kind": "key_vault", "url": "https://v.vault.azure.net/secrets/s"},
        "api_version": "2024-10-21",
        "prices": {"input_per_million": 1, "output_per_million": 2.5},
        "max_tokens_field": "max_completion_tokens",
    }
    assert EndpointSettings.from_json(json.dumps(value)) == EndpointSettings(
        value["url"],  # type: ignore[arg-type]
        "d",
        Auth("key_vault", "https://v.vault.azure.net/secrets/s"),
        "2024-10-21",
        Prices(1, 2.5),
        "max_completion_tokens",
    )
    assert Sampling.from_json('{"temperature": null, "top_p": 0.9, "seed": 3}') == Sampling(None, 0.9, seed=3)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"model": "gpt"}, "endpoint.url: is missing"),
        ({"url": "https://host/v1"}, "endpoint.model: is missing"),
        ({"url": "ftp://host", "model": "m"}, "endpoint.url: is no http"),
        ({"url": "https://host/v1/chat/completions", "model": "m"}, "endpoint.url: must end before"),
        ({"url": "https://me:secret@host/v1", "model": "m"}, "endpoint.url: must not hold"),
        ({"url": "https://host/v1?key=secret", "model": "m"}, "endpoint.url: must not have a query"),
        ({"url": "https://h", "model": "m", "auth": {"kind": "key"}}, "endpoint.auth.kind"),
        ({"url": "https://h", "model": "m", "auth": {"kind": "key_env"}}, "endpoint.auth.name: is missing"),
        ({"url": "https://h", "model": "m", "auth": {"kind": "none", "key": "sk"}}, "endpoint.auth.key: is no setting"),
        ({"url": "https://h", "model": "m", "auth": {"kind": "key_vault", "url": "http://v"}}, "endpoint.auth.url"),
        ({"url": "https://h", "model": "m", "prices": {"input_per_million": 1}}, "prices.output_per_million"),
        ({"url": "https://h", "model": "m", "key": "sk"}, "endpoint.key: is no setting"),
    ],
)
def test_a_wrong_endpoint_is_told_by_field(value: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        EndpointSettings.from_json(json.dumps(value))
    assert field in str(caught.value)
    assert "me:secret" not in str(caught.value)
    assert "key=secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"temperature": "hot"}', '{"max_tokens": 0}', '{"max_tokens": 1.5}', '{"topp": 1}']
)
def test_wrong_sampling(text: str) -> None:
    with pytest.raises(InvalidInput, match="sampling"):
        Sampling.from_json(text)


@pytest.mark.parametrize("text", ['{"max_concurrency": true}', '{"min_endpoint_success_ratio": 1.1}', '{"rpm": 1}'])
def test_wrong_limits(text: str) -> None:
    with pytest.raises(InvalidInput, match="limits"):
        Limits.from_json(text)


def test_a_ratio_of_nothing_is_kept() -> None:
    assert Limits.from_json('{"min_endpoint_success_ratio": 0}').min_endpoint_success_ratio == 0


def arguments(bench: Bench, task: dict[str, Any], **options: str) -> list[str]:
    return bench.command({"url": "https://h/v1"}, task, **options)[3:]


def test_all_arguments_problems_at_once(bench: Bench) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(arguments(bench, {"type": "poetry"}, sampling='{"topp": 1}', limits='{"rpm": 1}', teacher_id="x"))
    told = str(caught.value)
    for part in ("task.type", "sampling.topp", "limits.rpm", "exactly one of", str(bench.folder / "data")):
        assert part in told


@pytest.mark.parametrize("task", [{"type": "conversation"}, {**TOPICS, "chain_of_thought": True}])
def test_probabilities_where_there_can_be_none(bench: Bench, task: dict[str, Any]) -> None:
    bench.write("train", ["a"])
    with pytest.raises(InvalidInput, match="method: response"):
        parse(arguments(bench, task, probabilities="True"))


@pytest.mark.parametrize(("text", "value"), [("True", True), ("true", True), ("False", False)])
def test_booleans(bench: Bench, text: str, value: bool) -> None:
    bench.write("train", ["a"])
    assert parse(arguments(bench, TOPICS, probabilities=text)).probabilities is value
