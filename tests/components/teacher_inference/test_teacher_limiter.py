from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacher_inference.limiter import Limiter, Pace, Window


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 40), st.lists(st.sampled_from(["admit", "answer", "refuse", "leave"]), max_size=400))
def test_the_limit_stays_in_bounds_and_is_never_exceeded(ceiling: int, events: list[str]) -> None:
    window = Window(ceiling)
    tickets: list[int] = []
    for event in events:
        if event == "admit":
            if window.free:
                tickets.append(window.admit())
                assert window.active <= window.limit
        elif tickets:
            ticket = tickets.pop(0)
            if event == "answer":
                window.answer(ticket)
            elif event == "refuse":
                window.refuse(ticket)
            else:
                window.leave()
        assert 1 <= window.limit <= ceiling
        assert window.active == len(tickets)


def filled(ceiling: int) -> tuple[Window, list[int]]:
    """A window whose limit is its ceiling, all places taken."""
    window = Window(ceiling)
    while window.limit < ceiling:
        tickets = [window.admit() for _ in range(int(window.limit))]
        for ticket in tickets:
            window.answer(ticket)
    return window, [window.admit() for _ in range(ceiling)]


def test_a_burst_of_refusals_cuts_the_limit_once() -> None:
    window, tickets = filled(64)
    for ticket in tickets[:30]:
        window.refuse(ticket)
    assert window.limit == 48
    late = window.admit()
    window.refuse(late)
    assert window.limit < 48


def test_after_a_cut_the_limit_grows_by_one_for_as_many_answers() -> None:
    window, tickets = filled(64)
    for ticket in tickets:
        window.refuse(ticket)
    assert window.limit == 48
    for _ in range(2):
        for ticket in [window.admit() for _ in range(int(window.limit))]:
            window.answer(ticket)
            window.admit()  # keeps the window full
        while window.active:
            window.leave()
    assert 49 <= window.limit <= 51


def test_one_more_than_is_known_to_work_costs_that_one_place() -> None:
    window, tickets = filled(64)
    window.refuse(tickets.pop())
    while window.limit < 64:
        window.answer(tickets.pop())
        tickets += [window.admit() for _ in range(int(window.limit) - window.active)]
    assert window.known == 63
    window.refuse(tickets.pop())
    assert window.limit == window.known == 63
    window.refuse(tickets.pop())
    assert window.limit == 63, "of the same burst"


def simulated(capacity: int, ceiling: int, latencies: Iterator[float], until: float) -> list[tuple[float, bool]]:
    """(time, whether it was answered) of every request to a server that refuses all above its capacity at once.

    The client always has more to ask, and asks a refused question again like any other.
    """
    window = Window(ceiling)
    events: list[tuple[float, int, int, bool]] = []
    served, now, number = 0, 0.0, 0
    outcomes = []
    while now < until:
        while window.free:
            answered = served < capacity
            served += answered
            number += 1
            heapq.heappush(events, (now + (next(latencies) if answered else 0.02), number, window.admit(), answered))
        now, _, ticket, answered = heapq.heappop(events)
        outcomes.append((now, answered))
        if answered:
            served -= 1
            window.answer(ticket)
        else:
            window.refuse(ticket)
    return outcomes


@given(st.integers(1, 60), st.floats(0, 0.5), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_a_hidden_limit_is_found_and_hardly_ever_exceeded(capacity: int, spread: float, seed: int) -> None:
    """After warm-up: nine tenths of what the server can do, less than two refusals in a hundred requests."""
    dice = Random(seed)
    latencies = iter(lambda: 1 + dice.uniform(-spread, spread), None)
    outcomes = [answered for at, answered in simulated(capacity, 128, latencies, 230.0) if at >= 30.0]
    assert sum(outcomes) >= 0.9 * capacity * 200
    assert outcomes.count(False) < 0.02 * len(outcomes)


def test_a_limit_that_was_raised_is_found_again() -> None:
    window, tickets = filled(64)
    for ticket in tickets[:24]:
        window.refuse(ticket)
    for ticket in tickets[24:]:
        window.answer(ticket)
    for _ in range(4000):
        window.answer(window.admit())
        while window.free and window.active < int(window.limit) - 1:
            window.admit()
    assert window.limit == 64


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    window = Window(64)
    for _ in range(100):
        window.answer(window.admit())
    assert window.limit == 8


def test_closed_means_that_nothing_came_through_since_the_cut() -> None:
    window, tickets = filled(16)
    assert not window.refuse(tickets[0])  # requests of this generation were answered before: one too many, no more
    assert not window.refuse(tickets[1])  # of the same burst
    assert window.refuse(window.admit())  # the first after the cut is refused too


@given(st.integers(1, 2000), st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_no_minute_holds_more_requests_than_allowed(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    pace = Pace(per_minute, clock)
    starts = []
    for pause in pauses:
        clock.now += pace.delay() + pause * 60 / per_minute
        pace.charge(1)
        starts.append(clock.now)
    for index, start in enumerate(starts):
        assert sum(start <= other < start + 60 for other in starts[index:]) <= per_minute


REQUESTS = st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=80)


@given(st.integers(100, 10**6), REQUESTS)
def test_no_minute_holds_more_tokens_than_allowed_beside_one_request(
    per_minute: int, requests: list[tuple[int, int]]
) -> None:
    clock = Clock()
    pace = Pace(per_minute, clock)
    used: list[tuple[float, int]] = []
    for guess, extra in requests:
        clock.now += pace.delay()
        pace.charge(guess + extra)
        used.append((clock.now, guess))
        pace.charge(-extra)  # it used less than it was charged
    for index, (start, _) in enumerate(used):
        inside = [tokens for at, tokens in used[index:] if at < start + 60]
        assert sum(inside[:-1]) <= per_minute + 1


def test_places_are_given_in_order_and_come_back_from_the_cancelled() -> None:
    async def scenario() -> None:
        limiter = Limiter(Window(1))
        held = await limiter.acquire(0)
        order: list[str] = []

        async def wait(name: str) -> None:
            ticket = await limiter.acquire(0)
            order.append(name)
            limiter.answered(ticket, 0, 0)

        tasks = {name: asyncio.create_task(wait(name)) for name in "abc"}
        await asyncio.sleep(0)
        tasks["a"].cancel()
        limiter.answered(held, 0, 0)
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert order == ["b", "c"]
        assert limiter.window.active == 0

    asyncio.run(scenario())


def test_a_task_cancelled_with_its_place_granted_gives_it_back() -> None:
    async def scenario() -> None:
        limiter = Limiter(Window(1))
        held = await limiter.acquire(0)
        task = asyncio.create_task(limiter.acquire(0))
        await asyncio.sleep(0)
        limiter.answered(held, 0, 0)  # grants it to the task, which has not run yet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(limiter.acquire(0), 5) is not None

    asyncio.run(scenario())


def test_when_nothing_comes_through_nobody_sends_until_the_server_allows() -> None:
    async def scenario() -> None:
        limiter = Limiter(Window(4))
        limiter.throttled(await limiter.acquire(0), wait=0.2)
        loop = asyncio.get_running_loop()
        before = loop.time()
        await limiter.acquire(0)
        assert loop.time() - before >= 0.19

    asyncio.run(scenario())


def test_a_limit_that_is_one_too_many_again_is_tried_ever_more_rarely() -> None:
    """Answers between one refusal of the 21st at once and the next."""
    window, between = Window(64), list[int]()
    while len(between) < 8:
        answers = 0
        while int(window.limit) <= 20:
            tickets = [window.admit() for _ in range(int(window.limit))]
            for ticket in tickets:
                window.answer(ticket)
                window.admit()  # the place is taken again, so the window is used to the full
                answers += 1
            window.active = 0
        tickets = [window.admit() for _ in range(int(window.limit))]
        assert len(tickets) == 21 or not between
        window.refuse(tickets[-1])
        window.active = 0
        between.append(answers)
    steady = between[2:]
    assert all(later >= earlier for earlier, later in itertools.pairwise(steady))
    assert steady[-1] == pytest.approx(64 * 20, abs=21)  # and not without end
