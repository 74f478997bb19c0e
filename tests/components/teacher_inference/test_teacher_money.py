"""Money: counted, and never more than was allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_teacher import Fault, LoopbackTeacher, completion, hang, raw, status
from teacher_bench import Bench

from shared.errors import InvalidInput
from teacher_inference.retry import Backoff
from teacher_inference.settings import Limits, Prices, Sampling
from teacher_inference.teacher import FILTERED, Answer
from teacher_inference.usage import Budget, Meter

PROMPTS = [f"question {number}" for number in range(12)]
PRICES = Prices(input_per_million=1000.0, output_per_million=5000.0)  # 0.02 an answer of 10 + 2 tokens


def test_a_run_stops_before_its_money_is_spent_and_says_how_far_it_got(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.write("train", PROMPTS)
    sampling = Sampling(max_tokens=2)
    with LoopbackTeacher() as server:
        with pytest.raises(
            InvalidInput, match=r"max_cost: reached: 0\.\d+ of 0\.1 spent on \d answers, which are kept"
        ):
            bench.run(server, prices=PRICES, sampling=sampling, limits=Limits(max_cost=0.1))
        bought = server.answered
        assert 3 <= bought <= 5
        assert f"progress: {bought}/12 rows" in capfd.readouterr().out
        usage = json.loads((bench.responses / "usage.json").read_text())
        assert usage["cost"] == pytest.approx(0.02 * bought)
        assert usage["cost"] <= 0.1
        assert "max_cost" in usage["stopped"]
        result = bench.run(server, prices=PRICES, sampling=sampling)
    assert server.answered == 12
    assert result.usage["reused"] == bought
    assert result.usage["cost"] == pytest.approx(0.02 * (12 - bought))
    assert result.usage["total"]["cost"] == pytest.approx(0.24)
    assert "stopped" not in result.usage


def test_without_prices_there_is_no_cap(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher() as server, pytest.raises(InvalidInput, match="needs the endpoint's prices"):
        bench.run(server, limits=Limits(max_cost=1))
    assert server.requests == []


@pytest.mark.parametrize("silent", [{}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_an_endpoint_that_counts_no_tokens_is_taken_to_have_cost_the_most(bench: Bench, silent: dict[str, int]) -> None:
    bench.write("train", PROMPTS)
    body = {**completion("an answer"), "usage": silent}
    with (
        LoopbackTeacher(plan=lambda number, asked: raw(json.dumps(body).encode())) as server,
        pytest.raises(InvalidInput, match="max_cost"),
    ):
        bench.run(server, prices=PRICES, sampling=Sampling(max_tokens=2), limits=Limits(max_cost=0.1))
    assert len(server.requests) <= 4


def test_what_was_lost_on_its_way_back_is_taken_to_have_been_paid(bench: Bench) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=lambda number, body: hang) as server, pytest.raises(InvalidInput, match="max_cost"):
        bench.run(
            server,
            prices=PRICES,
            sampling=Sampling(max_tokens=2),
            limits=Limits(max_cost=0.1),
            timeout=0.05,
            backoff=Backoff(attempts=50, base=0.001, cap=0.001),
        )
    assert len(server.requests) <= 4


@pytest.mark.parametrize("fault", [status(408), status(504), status(400, {"code": "content_filter"})])
def test_refusals_that_azure_charges_for_are_taken_to_have_been_paid(bench: Bench, fault: Fault) -> None:
    bench.write("train", PROMPTS)
    with LoopbackTeacher(plan=lambda number, body: fault) as server, pytest.raises(InvalidInput, match="max_cost"):
        bench.run(server, prices=PRICES, sampling=Sampling(max_tokens=2), limits=Limits(max_cost=0.1))
    assert len(server.requests) <= 4


ANSWERS = st.one_of(
    st.tuples(st.just("answer"), st.integers(1, 60), st.integers(0, 40)),
    st.tuples(st.sampled_from(["refused", "lost", "silent", "filtered"]), st.just(0), st.just(0)),
)


@given(st.floats(0, 5), st.lists(ANSWERS, max_size=120), st.integers(1, 8), st.data())
def test_no_order_of_events_spends_more_than_is_allowed(
    max_cost: float, outcomes: list[tuple[str, int, int]], at_once: int, data: st.DataObject
) -> None:
    """Requests of at most 60 + 40 tokens; the server's true bill is kept beside."""
    prices = Prices(1e4, 3e4)
    budget = Budget(prices, max_cost)
    flying: list[tuple[float, tuple[str, int, int]]] = []
    bill = 0.0
    for outcome in outcomes:
        while flying and (len(flying) >= at_once or data.draw(st.booleans())):
            reserved, (kind, prompt, completed) = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            given_back: Any = None
            if kind == "answer":
                given_back = Answer("x", prompt_tokens=prompt, completion_tokens=completed)
                bill += prices.cost(prompt, completed)
            elif kind in ("lost", "silent", "filtered"):
                given_back = {"silent": Answer("x"), "filtered": Answer("", FILTERED)}.get(kind)
                bill += prices.cost(60, 40)
            budget.settle(reserved, given_back, lost=kind == "lost")
            assert bill <= max_cost + 1e-9
        try:
            reserved_now = budget.reserve(60, 40)
        except InvalidInput:
            assert bill + sum(reserved for reserved, _ in flying) + prices.cost(60, 40) > max_cost - 1e-9
            break
        if reserved_now is not None:
            flying.append((reserved_now, outcome))


def test_two_teachers_counts_add_up() -> None:
    one, two = Meter(PRICES, requests=3, bought=2, adapted=["x"]), Meter(PRICES, requests=4, prompt_tokens=10)
    both = one + two
    assert (both.requests, both.bought, both.prompt_tokens, both.adapted, both.prices) == (7, 2, 10, ["x"], PRICES)
    assert (one + Meter()).prices is None
