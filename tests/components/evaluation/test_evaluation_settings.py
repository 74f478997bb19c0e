from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_distill.spec.job import GATE_CHECK, GATE_FIGURES, METRICS
from evaluation.gate import FORM, judge
from evaluation.settings import Settings, load_settings
from shared.errors import InvalidInput
from shared.tasks import load_task


def load(value: dict[str, Any], kind: str = "nli") -> Settings:
    return load_settings(json.dumps(value), load_task(json.dumps({"type": kind})))


def problems(value: dict[str, Any], kind: str = "nli") -> str:
    with pytest.raises(InvalidInput) as caught:
        load(value, kind)
    return str(caught.value)


def test_without_wishes_the_tasks_metrics_are_reported() -> None:
    settings = load({})
    assert settings.metrics == ("accuracy", "macro_f1", "inference_time")
    assert settings.headline == "accuracy"
    assert settings.quality_metrics == ("accuracy", "macro_f1")


def test_aliases_are_known_and_the_headline_follows_the_wish() -> None:
    settings = load({"metrics": ["bleu", "inference_time"]}, "conversation")
    assert settings.metrics == ("bleu_score", "inference_time")
    assert settings.headline == "bleu_score"
    assert load({"metrics": ["inference_time"]}, "conversation").headline == "token_f1"


def test_every_problem_is_told_at_once_with_the_name_that_was_meant() -> None:
    text = problems({"metrics": ["acuracy"], "sed": 1, "bootstrap": 3, "names": {"techer": "x"}, "lineage": []})
    assert "unknown metric 'acuracy' (did you mean 'accuracy'?" in text
    assert "unknown setting 'sed' (did you mean 'seed'?" in text
    assert "settings.bootstrap: must be a whole number, at least 100" in text
    assert "unknown role 'techer' (did you mean 'teacher'?" in text
    assert "settings.lineage: must be an object" in text


def test_a_metric_of_another_task_is_refused_with_those_that_apply() -> None:
    assert problems({"metrics": ["bleu_score"]}) == (
        "settings.metrics: 'bleu_score' does not apply to nli (these do: accuracy, macro_f1, inference_time)"
    )


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        (["accuracy is fine"], "is no check"),
        (["acuracy >= 1"], "unknown figure 'acuracy' (did you mean 'accuracy'?"),
        ({"min_accuracy": "0.9"}, "settings.gate.min_accuracy: must be a number"),
        ({"accuracy": 0.9}, "unknown key 'accuracy'"),
        ("accuracy >= 0.9", "must be a list of checks"),
    ],
)
def test_a_gate_that_cannot_be_read_is_refused(gate: Any, text: str) -> None:
    assert text in problems({"gate": gate})


def figures(**student: Any) -> dict[str, Any]:
    return {
        "contenders": {
            "student": {"status": "ok", "metrics": {"accuracy": {"value": 0.91}}, "weight_bytes": 3e6}
            | {"calibration": {"ece": 0.08}, "kl_to_teacher": {"value": 0.2}}
            | student
        },
        "comparisons": {"accuracy": {"gain": {"value": 0.3}, "retention": {"value": 0.95}}},
    }


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (["accuracy >= 0.9"], True),
        (["accuracy > 0.91"], False),
        (["gain >= 0.3", "retention>=.95", "weight_bytes <= 3e6"], True),
        (["accuracy_gain < 0.1"], False),
        ({"min_accuracy_gain": 0.25, "min_retention": 0.9}, True),
        ({"min_retention": 0.96}, False),
        ({"max_weight_bytes": 1e6}, False),
        (["ece <= 0.1", "kl_to_teacher < 0.5"], True),
        (["ece < 0.05"], False),
    ],
)
def test_a_gate_passes_when_all_its_checks_do(gate: Any, passed: bool) -> None:
    assert judge(load({"gate": gate}).gate, figures())["passed"] is passed


def test_minimums_may_stand_beside_the_gate() -> None:
    settings = load({"min_accuracy_gain": 0.5, "min_retention": None, "gate": ["accuracy >= 0.9"]})
    checks = judge(settings.gate, figures())["checks"]
    assert checks == [
        {"check": "accuracy_gain >= 0.5", "value": 0.3, "passed": False},
        {"check": "accuracy >= 0.9", "value": 0.91, "passed": True},
    ]


def test_what_was_not_measured_has_not_passed() -> None:
    result = judge(load({"gate": ["macro_f1_gain >= -1"]}).gate, figures())
    assert result["passed"] is False
    assert result["checks"][0]["reason"] == "not measured: needs the untrained student"
    result = judge(load({"gate": ["perplexity <= 10"]}).gate, figures())
    assert result["checks"][0]["reason"] == "not measured: this student, task or data has none"


def test_a_student_that_failed_fails_the_gate_even_without_checks() -> None:
    failed = {"contenders": {"student": {"status": "failed", "error": "no weights"}}, "comparisons": {}}
    assert judge((), failed) == {
        "passed": False,
        "checks": [
            {"check": "the student was evaluated", "value": None, "passed": False, "reason": "no weights"},
        ],
    }
    assert judge((), figures())["passed"] is True


def test_the_gates_metrics_are_measured_though_nobody_asked_to_report_them() -> None:
    settings = load({"metrics": ["accuracy"], "gate": ["macro_f1 >= 0.5", "inference_time <= 10"]})
    assert settings.quality_metrics == ("accuracy", "macro_f1")


@pytest.mark.parametrize("kind", ["nli", "math", "conversation"])
def test_the_job_file_knows_the_figures_that_a_gate_can_name(kind: str) -> None:
    names = [*METRICS[kind], *GATE_FIGURES, "accuracy_gain", "accuracy_retention"]
    checks = load({"gate": [f"{name} >= 0" for name in names]}, kind).gate
    assert len(checks) == len(names)
    known = problems({"gate": ["nonsense >= 0"]}, kind).partition("known: ")[2].strip(")")
    assert set(known.split(", ")) == set(names) - {"accuracy_retention"}


@given(st.from_regex(GATE_CHECK, fullmatch=True))
def test_what_the_job_file_takes_for_a_check_is_one(text: str) -> None:
    assert FORM.fullmatch(text)


@given(st.from_regex(FORM, fullmatch=True))
def test_every_check_can_be_written_in_a_job_file(text: str) -> None:
    assert re.match(GATE_CHECK, text)
