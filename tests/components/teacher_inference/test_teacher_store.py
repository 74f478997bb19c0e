from __future__ import annotations

import hashlib
import json
import multiprocessing
import resource
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from teacher_inference.endpoint import EndpointTeacher
from teacher_inference.settings import EndpointSettings, Limits, Sampling
from teacher_inference.store import Store, record, slug
from teacher_inference.teacher import Answer, Question, request_key
from teacher_inference.usage import Meter

TEXTS = st.text(st.characters(codec="utf-8"))
ANSWERS = st.builds(
    Answer,
    text=TEXTS,
    finish=st.sampled_from(["stop", "length", "content_filter"]),
    prompt_tokens=st.integers(0, 10**6),
    latency_ms=st.none() | st.floats(0, 1e6),
    label_logprobs=st.none() | st.dictionaries(TEXTS, st.floats(-1e4, 0), max_size=3),
)
RECORDS = st.lists(ANSWERS, min_size=1, max_size=6).map(lambda found: [(key(i), a) for i, a in enumerate(found)])


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def opened(folder: Path) -> Store:
    return Store(folder, "teacher", "http://localhost teacher")


@given(RECORDS)
def test_every_answer_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, Answer]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = opened(folder)
    store.append(records)
    for reader in (store, opened(folder)):
        assert len(reader) == len(records)
        assert [reader.get(name) for name, _ in records] == [answer for _, answer in records]
        reader.close()


@given(RECORDS, st.data())
def test_a_torn_tail_costs_its_own_record_only(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, Answer]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = opened(folder)
    store.append(records)
    store.close()
    whole = store.path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    store.path.write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n")

    torn = opened(folder)
    assert [name in torn for name, _ in records] == [index < complete for index in range(len(records))]
    later = (key(1000), Answer("after the crash"))
    torn.append([later])
    torn.close()

    again = opened(folder)
    assert again.get(later[0]) == later[1]
    assert [again.get(name) for name, _ in records[:complete]] == [answer for _, answer in records[:complete]]
    # a cut right before a record's newline leaves a whole record behind, which may count
    assert len(again) in (complete + 1, complete + 2)
    again.close()


@given(st.binary(max_size=200) | st.just(b'{"key": ' + b"[" * 10_000 + b"}\n"))
def test_whatever_else_is_in_the_file_is_skipped(tmp_path_factory: pytest.TempPathFactory, rubbish: bytes) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = opened(folder)
    store.append([(key(1), Answer("one"))])
    with store.path.open("ab") as file:
        file.write(rubbish)
    store.append([(key(2), Answer("two"))])
    store.close()
    again = opened(folder)
    assert again.get(key(1)) == Answer("one")
    assert again.get(key(2)) == Answer("two")
    assert len(again) == 2
    again.close()


class StoreMachine(RuleBasedStateMachine):
    """Any order of buying, dying and coming back, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        self.store = opened(self.folder)
        self.known: dict[str, Answer] = {}

    @rule(records=st.lists(st.tuples(st.integers(0, 30).map(key), ANSWERS), max_size=4, unique_by=lambda pair: pair[0]))
    def buy(self, records: list[tuple[str, Answer]]) -> None:
        self.store.append(records)
        self.store.sync()
        for name, answer in records:
            self.known.setdefault(name, answer)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = opened(self.folder)

    @rule(lost=st.integers(2, 300))  # a record that lacks its newline alone is whole
    def die_while_writing(self, lost: int) -> None:
        """A record of which the last bytes never reached the disk."""
        torn = record(key(1000), Answer("x" * 400))
        self.store.close()
        with self.store.path.open("ab") as file:
            file.write(torn[:-lost])
        self.store = opened(self.folder)

    @invariant()
    def holds_what_was_bought(self) -> None:
        assert len(self.store) == len(self.known)
        for name, answer in self.known.items():
            assert name in self.store
            assert self.store.get(name) == answer

    def teardown(self) -> None:
        self.store.close()
        self.scratch.cleanup()


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestAnyOrder = StoreMachine.TestCase


def test_of_two_answers_to_one_request_the_first_stays(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.append([(key(1), Answer("first"))])
    second.append([(key(1), Answer("second"))])
    again = opened(tmp_path)
    assert again.get(key(1)) == Answer("first")
    for store in (first, second, again):
        store.close()


def append_many(folder: Path, start: int) -> None:
    store = opened(folder)
    for number in range(start, start + 60):
        store.append([(key(number), Answer("x" * (number % 50 * 400)))])
    store.close()


def test_an_answer_after_a_full_disk_is_found(tmp_path: Path) -> None:
    store = opened(tmp_path)
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with pytest.raises(OSError, match="large"):
            store.append([(key(0), Answer("long " * 100))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.append([(key(1), Answer("sport"))])
    assert store.get(key(1)) == Answer("sport")
    assert opened(tmp_path).get(key(1)) == Answer("sport")


def test_processes_share_a_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(tmp_path, start)) for start in (0, 60, 120)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = opened(tmp_path)
    assert len(store) == 180
    assert all(store.get(key(number)) == Answer("x" * (number % 50 * 400)) for number in range(180))
    store.close()


def test_each_teacher_has_its_file(tmp_path: Path) -> None:
    stores = [Store(tmp_path, "gpt", origin) for origin in ("http://a gpt", "http://b gpt")]
    assert stores[0].path != stores[1].path
    for store in stores:
        store.close()


def test_a_lone_surrogate_is_stored() -> None:
    line = record(key(1), Answer("\ud83d"))
    assert json.loads(line)["answer"]["text"] == "\ud83d"


def test_a_request_has_the_key_that_it_had_in_earlier_versions() -> None:
    """Another one would buy every answer again."""
    endpoint = EndpointSettings("https://teacher.example.com/v1", "teacher")
    teacher = EndpointTeacher(endpoint, Sampling(temperature=1e-07, seed=3), Limits(), Meter())
    found = request_key(teacher, Question([{"role": "user", "content": "déjà vu: 日\u2028\x7f"}], ("ja", "naïve")), 1)
    assert found == "a518612c437c52604a4f50e0b1bbb7e18ed34fac21163f85f1d1d2753ffabac9"


@given(st.text())
def test_any_name_makes_a_file_name(name: str) -> None:
    assert "/" not in slug(name)
    assert 0 < len(slug(name)) <= 60
