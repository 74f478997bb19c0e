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
        "api": "azure_openai",
        "constrain": False,
    }
    assert EndpointSettings.from_json(json.dumps(value)) == EndpointSettings(
        value["url"],  # type: ignore[arg-type]
        "d",
        Auth("key_vault", "https://v.vault.azure.net/secrets/s"),
        "2024-10-21",
        Prices(1, 2.5),
        "max_completion_tokens",
        "azure_openai",
        False,
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
        ({"url": "https://host/anthropic/v1/messages", "model": "m"}, "endpoint.url: must end before /v1/messages"),
        ({"url": "https://h", "model": "m", "api": "soap"}, "endpoint.api: must be one of openai, azure_openai"),
        ({"url": "https://h", "model": "m", "constrain": 1}, "endpoint.constrain: must be true or false"),
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


@pytest.mark.parametrize(
    ("task", "needs"),
    [
        ({"type": "conversation"}, "labels"),
        ({**TOPICS, "chain_of_thought": True}, "labels"),
        ({**TOPICS, "chain_of_thought": True}, "tokens"),
        ({"type": "summarization", "chain_of_density": True}, "tokens"),
    ],
)
def test_probabilities_where_there_can_be_none(bench: Bench, task: dict[str, Any], needs: str) -> None:
    bench.write("train", ["a"])
    with pytest.raises(InvalidInput, match="method: response"):
        parse(arguments(bench, task, probabilities=needs))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sampling": '{"samples": 3}'}, "sampling.samples: a hosted teacher"),
        ({"probabilities": "tokens"}, "only an endpoint gives"),
    ],
)
def test_what_a_hosted_teacher_has_no_use_for(bench: Bench, options: dict[str, str], field: str) -> None:
    bench.write("train", ["a"])
    given = [argument for argument in arguments(bench, TOPICS, **options) if not argument.startswith("--endpoint")]
    with pytest.raises(InvalidInput, match=field):
        parse([*given, "--teacher-id=x"])


def test_answers_that_cannot_be_compared_have_no_majority(bench: Bench) -> None:
    bench.write("train", ["a"])
    with pytest.raises(InvalidInput, match=r"sampling\.selection: needs answers that can be compared"):
        parse(arguments(bench, {"type": "conversation"}, sampling='{"selection": "majority"}'))


def test_several_samples_want_a_temperature() -> None:
    assert Sampling.from_json('{"samples": 4}').temperature == 0.7
    assert Sampling.from_json('{"samples": 4, "temperature": null}').temperature is None
    with pytest.raises(InvalidInput, match="must be above 0 where 4 answers are to differ"):
        Sampling.from_json('{"samples": 4, "temperature": 0}')


def test_each_sample_has_its_own_seed_and_none_is_tried_again_at_temperature_zero() -> None:
    assert Sampling(seed=5, top_p=0.9).drawn(0) == {"temperature": 0.0, "top_p": 0.9, "seed": 5}
    assert Sampling(seed=5).drawn(2) == {"temperature": 0.7, "seed": 7}
    assert Sampling(temperature=0.3).drawn(2) == {"temperature": 0.3}
    assert Sampling(temperature=None).drawn(1) == {}
