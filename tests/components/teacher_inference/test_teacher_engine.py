"""The engine on its own: what it does with outcomes, whoever they come from."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from teacher_inference.engine import Engine
from teacher_inference.health import Health
from teacher_inference.limiter import Limiter, Window
from teacher_inference.outcome import Outcome, Retry
from teacher_inference.retry import Backoff
from teacher_inference.teacher import Answer, Ask, Draws, Question
from teacher_inference.usage import Meter


class Work:
    """Questions to take, and what became of them."""

    def __init__(self, *names: str) -> None:
        self.left = [Ask(name, Question([]), 0, Draws(Question([]))) for name in names]
        self.answered: list[str] = []
        self.failed: dict[str, str] = {}
        self.sent = 0

    def take(self) -> Ask | None:
        return self.left.pop(0) if self.left else None

    def write(self, answers: Sequence[tuple[Ask, Answer]]) -> None: ...

    def sync(self) -> None: ...

    def count(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        for ask, _ in answers:
            self.answered.append(ask.key)
            if ask.key.endswith("?"):
                self.left.append(Ask(ask.key.removesuffix("?"), ask.question, 1, ask.draws))

    def fail(self, ask: Ask, reason: str) -> None:
        self.failed[ask.key] = reason


def run(
    work: Work, outcome: dict[str, Outcome], *, seconds: float = 0.0, refusals: float = math.inf, **settings: float
) -> None:
    """`outcome` of a question as often as `refusals`, an answer otherwise; each takes `seconds`."""
    times: Counter[str] = Counter()

    async def send(ask: Ask) -> Outcome:
        await asyncio.sleep(seconds)
        work.sent += 1
        times[ask.key] += 1
        return outcome[ask.key] if ask.key in outcome and times[ask.key] <= refusals else Answer("yes")

    async def all_() -> None:
        limiter, backoff = Limiter(Window(2)), Backoff(base=0.001, cap=0.001)
        engine = Engine(send, lambda ask: 1, limiter, Health("url", 0.5), Meter(), work, backoff, **settings)
        await engine.run(work)

    asyncio.run(all_())


def test_a_question_that_alone_is_too_much_is_given_up_while_others_are_answered() -> None:
    """As where its tokens are more than a minute's quota: it would be refused for ever."""
    work = Work("a", "big", "b")
    run(work, {"big": Retry("429", wait=0.001, throttled=True)}, patience=0.1)
    assert sorted(work.answered) == ["a", "b"]
    assert work.failed == {"big": "429 for 0 min"}


def test_what_an_answer_brings_is_asked_though_there_was_nothing_left() -> None:
    work = Work("a??", "b")
    run(work, {})
    assert sorted(work.answered) == ["a", "a?", "a??", "b"]


class SlowDisk(Work):
    """The first flush ends when all questions were sent."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.wanted = len(names)

    def sync(self) -> None:
        until = time.monotonic() + 10
        while self.sent < self.wanted:
            assert time.monotonic() < until, "requests wait for the disk"
            time.sleep(0.001)

    def count(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        assert self.sent == self.wanted, "counted before it was flushed"
        super().count(answers)


def test_a_slow_disk_holds_no_request_up_and_nothing_counts_before_it_is_flushed() -> None:
    work = SlowDisk(*"abcdefgh")  # four times the limit
    run(work, {})
    assert sorted(work.answered) == list("abcdefgh")


class BrokenDisk(Work):
    def __init__(self, *names: str, at: str) -> None:
        super().__init__(*names)
        self.at = at

    def write(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        self.fail_at("write")

    def sync(self) -> None:
        self.fail_at("sync")

    def count(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        self.fail_at("count")

    def fail_at(self, place: str) -> None:
        if place == self.at:
            raise OSError(f"no {place}")


@pytest.mark.parametrize("at", ["write", "sync", "count"])
def test_a_disk_that_fails_ends_the_run(at: str) -> None:
    with pytest.raises(OSError, match=f"no {at}"):
        run(BrokenDisk("a", "b", "c", at=at), {})


def test_waiting_for_a_place_is_no_refusal() -> None:
    """A question that waited long and is then refused once has not asked for too much."""
    work = Work(*(str(number) for number in range(40)), "late")
    run(work, {"late": Retry("429", wait=0.001, throttled=True)}, patience=0.0, seconds=0.005, refusals=1)
    assert work.failed == {}
    assert "late" in work.answered


def test_what_is_in_flight_when_a_run_fails_is_kept() -> None:
    work = Work("a", "b")

    async def send(ask: Ask) -> Outcome:
        work.sent += 1
        if ask.key == "a":
            await asyncio.sleep(0.01)
            raise RuntimeError("this ends the run")
        await asyncio.sleep(0.3)
        return Answer("yes")

    async def all_() -> None:
        engine = Engine(
            send, lambda ask: 1, Limiter(Window(2)), Health("url", 0.5), Meter(), work, Backoff(), grace=0.05
        )
        await engine.run(work)

    with pytest.raises(RuntimeError):
        asyncio.run(all_())
    assert work.answered == ["b"]


def test_an_endpoint_that_says_only_too_many_is_asked_ever_more_rarely() -> None:
    """Without a header that says when; one answer, and it is asked as at first."""
    limiter, waits = Limiter(Window(8)), []

    async def all_() -> None:
        for _ in range(6):
            ticket = await asyncio.wait_for(limiter.acquire(1), 1)
            waits.append(limiter.closures)
            limiter.throttled(ticket, 0.0)
        ticket = await limiter.acquire(1)
        limiter.answered(ticket, 1, 1)
        waits.append(limiter.closures)

    asyncio.run(all_())
    assert waits == [0, 1, 2, 3, 4, 5, 0]


def test_refusals_make_a_question_wait_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    wait = Backoff.wait

    def noted(self: Backoff, failures: int, after: float | None) -> float:
        asked.append(failures)
        return wait(self, failures, after)

    monkeypatch.setattr(Backoff, "wait", noted)
    work = Work("a")
    run(work, {"a": Retry("429", throttled=True)}, patience=0.0, refusals=5)
    assert max(asked) == 5
    assert work.answered == ["a"]
