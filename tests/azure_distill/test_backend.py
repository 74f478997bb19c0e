"""What a step's log says to every backend."""

from __future__ import annotations

from azure_distill.backend import SHOWN_ERRORS, told_failure, told_progress


def test_a_failure_is_told_by_its_own_errors_the_first_ones_first() -> None:
    log = ["progress: 1/2 rows", "error: a.jsonl:1: is wrong", "", "error: a.jsonl:2: is wrong", "Traceback"]
    assert told_failure(log, "exit code 3") == "a.jsonl:1: is wrong\na.jsonl:2: is wrong"


def test_of_many_errors_the_rest_are_counted() -> None:
    told = told_failure([f"error: problem {number}" for number in range(SHOWN_ERRORS + 7)]).splitlines()
    assert told[0] == "problem 0"
    assert told[SHOWN_ERRORS:] == ["… and 7 more in its log"]


def test_without_errors_the_end_of_the_log_is_told_and_no_progress() -> None:
    log = [f"line {number}" for number in range(20)] + ["progress: 3/4 steps"]
    assert told_failure(log, "killed by SIGKILL").splitlines() == ["killed by SIGKILL", *log[15:20]]
    assert told_failure([]) == ""


def test_progress_is_what_stands_behind_the_word() -> None:
    assert told_progress("progress: 3/4 steps") == "3/4 steps"
    assert told_progress("in progress: no") is None
