"""The component as it is run: `python -m evaluation` with real, tiny models."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

LABELS = ("sport", "politics", "very good sport")
Lines = list[dict[str, Any]]
Evaluate = Callable[..., CompletedProcess[str]]


@pytest.fixture
def prepared(
    tmp_path: Path, write_lines: Callable[[Path, Lines], Path], label_rows: Callable[..., Lines]
) -> tuple[Path, Lines]:
    """A folder with data/test.jsonl and its rows."""
    rows = label_rows(40)
    write_lines(tmp_path / "data" / "test.jsonl", rows)
    return tmp_path, rows


@pytest.fixture
def responses(
    prepared: tuple[Path, Lines],
    answered: Callable[..., Lines],
    write_lines: Callable[[Path, Lines], Path],
) -> Path:
    """The teacher's answers: three wrong, one rejected."""
    folder, rows = prepared
    texts = [row["reference"] if place > 3 else "politics" for place, row in enumerate(rows)]
    lines = answered(rows, texts)[:-1]
    for line, text in zip(lines[:10], texts, strict=False):
        line["label_logprobs"] = {label: math.log(0.8 if label == text else 0.1) for label in LABELS}
    write_lines(folder / "responses" / "test.jsonl", lines)
    write_lines(folder / "responses" / "rejected.jsonl", [{"id": "r39", "split": "test", "reason": "empty answer"}])
    usage = {"teacher": "big-model", "kind": "endpoint", "requests": 40, "latency_ms": {"p50": 410.0, "p95": 900.0}}
    usage |= {"cost": 0.0, "total": {"answers": 80, "cost": 2.0}}  # the last run found every answer in its store
    (folder / "responses" / "usage.json").write_text(json.dumps(usage))
    return folder / "responses"


NAMES = {"contenders", "metrics", "comparisons", "reductions", "labels"}  # whose keys are roles, metrics or labels
OPEN = {"lineage", "versions", "confusion", "queries_per_hour", "signatures", "scales"}  # whose keys are anything


def fields(value: Any, key: str = "") -> set[str]:
    """The keys of a document that mean the same in every one."""
    if isinstance(value, list):
        return {field for item in value for field in fields(item)}
    if not isinstance(value, dict) or key in OPEN:
        return set()
    if key in NAMES:
        parts = [fields(item) for item in value.values()]
        return {field for part in parts for field in part}
    return {*value, *(field for name, item in value.items() for field in fields(item, name))}


def undocumented(metrics: dict[str, Any]) -> set[str]:
    """The fields of a metrics.json that docs/evaluation.md does not describe, and the described ones that are not."""
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    described = page.partition("## metrics.json")[2].partition("## MLflow")[0]
    cells = [
        [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
        for table in described.split("A contender:")
    ]
    top, contender = (set(re.findall(r"`(\w+)`", " ".join(names))) for names in cells)
    found = {field for value in metrics["contenders"].values() for field in value}
    anywhere = set(re.findall(r"`(\w+)`", described))
    return (metrics.keys() ^ top) | (found - contender) | (fields(metrics) - anywhere)


def test_contenders_side_by_side_and_one_that_fails_takes_nothing_from_the_others(
    prepared: tuple[Path, Lines], responses: Path, models: dict[str, Path], evaluate: Evaluate, label_task: str
) -> None:
    folder, _ = prepared
    student = shutil.copytree(models["student"], folder / "student")
    record = {"from_scratch": True, "seed": 5, "loss": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]}
    (student / "training.json").write_text(json.dumps(record))
    settings = {
        "names": {"student": "tiny <b>student</b>"},
        "gate": ["retention >= 0", "accuracy >= 0.99"],
        "latency_rows": 5,
        "bootstrap": 200,
        "lineage": {"job": "j-1"},
        "teacher_parameters": 671_000_000_000,
    }
    done = evaluate(
        data=folder / "data",
        responses=responses,
        student_model=student,
        baseline_id="scratch",
        gold_model=models["broken"],
        task=label_task,
        settings=json.dumps(settings),
        report=folder / "report",
    )
    assert done.returncode == 0, done.stderr
    assert "progress: 40/40 rows" in done.stdout
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert list(metrics["contenders"]) == ["teacher", "baseline", "gold_only", "student"]
    assert [value["status"] for value in metrics["contenders"].values()] == ["ok", "ok", "failed", "ok"]
    assert "weights are missing" in metrics["contenders"]["gold_only"]["error"]

    teacher = metrics["contenders"]["teacher"]
    assert teacher["name"] == "big-model"
    assert teacher["kind"] == "endpoint"
    assert teacher["n"] == 39
    assert teacher["metrics"]["accuracy"]["value"] == pytest.approx(36 / 39)
    assert teacher["unanswered"] == teacher["rejected"] == 1
    assert teacher["latency_ms"] == {"p50": 410.0, "p95": 900.0, "how": "endpoint, network included", "n": 40}
    assert teacher["metrics"]["inference_time"] == {"value": 410.0, "low": None, "high": None, "n": 40}

    found = metrics["contenders"]["student"]
    assert found["n"] == 40
    assert found["latency_ms"]["how"] == "in process, batch 1"
    assert len(found["latency_ms"]["samples"]) == 5
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p95"]
    assert found["weight_bytes"] == 4 * found["parameters"]
    assert found["dtype"] == "float32"
    assert found["kl_to_teacher"]["n"] == 10
    assert found["kl_to_teacher"]["value"] > 0
    assert found["calibration"]["n"] == 40
    assert teacher["calibration"]["n"] == 10
    assert teacher["calibration"]["ece"] == pytest.approx(0.8 - 0.7)  # three of the ten are wrong
    assert "kl_to_teacher" not in teacher
    assert not {"perplexity", "format_validity", "fact_recall"} & found.keys()
    assert 0 < found["peak_memory_bytes"] < 200e6
    assert list(found["queries_per_hour"]) == ["1", "8", "32"]
    assert found["queries_per_hour"]["1"] == pytest.approx(3.6e6 / found["latency_ms"]["mean"])
    assert found["ttft_ms"] is None  # a label is chosen, not written
    assert found["usd_per_1000_requests"] is None
    assert teacher["usd_per_1000_requests"] == pytest.approx(25.0)
    best = max(found["queries_per_hour"].values())
    assert found["break_even_usd_per_hour"] == pytest.approx(25.0 * best / 1000)
    assert any("1,000 requests cost $25.00 at the teacher's endpoint" in told for told in metrics["summary"])
    assert teacher["parameters"] == 671_000_000_000  # as published
    assert metrics["reductions"]["parameters"]["reduction"] == pytest.approx(1 - found["parameters"] / 671e9)
    assert found["parameters"] == metrics["contenders"]["baseline"]["parameters"]
    assert metrics["gate"]["passed"] is False
    assert [check["passed"] for check in metrics["gate"]["checks"]] == [True, False]
    assert metrics["retention"]["n"] == 39
    assert any("could not be evaluated" in note for note in metrics["notes"])

    lines = (folder / "report" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"r{place}" for place in range(40)]
    assert sum(json.loads(lines[0])["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert metrics["provenance"]["command"].startswith("python -m evaluation --data DATA --responses RESPONSES --stud")
    assert undocumented(metrics) == set()
    html = (folder / "report" / "report.html").read_text()
    assert "tiny &lt;b&gt;student" in html
    assert "<b>student" not in html
    assert "Training loss" in html
    assert str(folder) not in html
    assert sorted(path.name for path in (folder / "report").iterdir()) == [
        "metrics.json",
        "predictions.jsonl",
        "report.html",
    ]


def test_one_model_alone_that_writes_text(
    prepared: tuple[Path, Lines],
    models: dict[str, Path],
    evaluate: Evaluate,
    write_lines: Callable[[Path, Lines], Path],
) -> None:
    folder, _ = prepared
    talk = [
        {
            "id": str(place),
            "messages": [{"role": "user", "content": "hi " * place}, {"role": "assistant", "content": "hello there"}],
            "reference": "hello there",
            "facts": ["hello", "nothing of that kind"],
        }
        for place in range(1, 5)
    ]
    write_lines(folder / "data" / "test.jsonl", talk)
    done = evaluate(
        data=folder / "data",
        student_id=models["student"],
        task='{"type": "conversation"}',
        settings='{"metrics": ["accuracy", "bleu_score", "inference_time"], "max_new_tokens": 6, "bootstrap": 200}',
        report=folder / "report",
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert list(metrics["contenders"]) == ["student"]
    assert list(metrics["contenders"]["student"]["metrics"]) == ["accuracy", "bleu_score", "inference_time"]
    assert metrics["retention"] is metrics["gain"] is None
    assert metrics["gate"] == {"passed": True, "checks": []}
    assert metrics["signatures"]["bleu_score"].startswith("nrefs:1|case:mixed")
    assert undocumented(metrics) == set()
    student = metrics["contenders"]["student"]
    assert student["tokens_per_s"] > 0
    assert student["perplexity"]["n"] == 4
    assert student["perplexity"]["value"] > 1
    assert student["format_validity"]["n"] == 4
    assert student["fact_recall"]["value"] == 0
    assert student["calibration"] is None
    assert 0 < student["ttft_ms"]["p50"] < student["latency_ms"]["p50"]
    assert student["ttft_ms"]["n"] == 4
    assert list(student["queries_per_hour"]) == ["1"]  # 4 rows fill no batch of 8


def test_a_model_that_says_nothing_is_shown_as_such_and_loses_nothing_of_the_others(
    tmp_path: Path, models: dict[str, Path], evaluate: Evaluate, write_lines: Callable[[Path, Lines], Path]
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    silent = shutil.copytree(models["student"], tmp_path / "silent")
    weights = load_file(silent / "model.safetensors")
    weights["model.norm.weight"] = torch.zeros_like(
        weights["model.norm.weight"]
    )  # all tokens alike: the first one wins
    save_file(weights, silent / "model.safetensors", metadata={"format": "pt"})
    talk = [
        {
            "id": str(place),
            "messages": [{"role": "user", "content": "hi " * place}, {"role": "assistant", "content": "hello"}],
            "reference": "hello",
        }
        for place in range(1, 4)
    ]
    write_lines(tmp_path / "data" / "test.jsonl", talk)
    done = evaluate(
        data=tmp_path / "data",
        student_model=silent,
        other_id=models["baseline"],
        task='{"type": "conversation"}',
        settings='{"max_new_tokens": 4, "bootstrap": 100, "latency_rows": 2}',
        report=tmp_path / "report",
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    student, other = metrics["contenders"]["student"], metrics["contenders"]["other"]
    assert (student["empty_answers"], other["empty_answers"]) == (3, 0)
    assert student["format_validity"]["value"] == 0
    assert other["format_validity"]["value"] == 1
    assert student["n"] == other["n"] == 3
    assert "distilled student: 3 answers are empty." in metrics["notes"]


def test_a_hosted_teacher_is_timed_like_the_student_and_is_the_yardstick_without_references(
    tmp_path: Path,
    models: dict[str, Path],
    evaluate: Evaluate,
    label_task: str,
    label_rows: Callable[..., Lines],
    write_lines: Callable[[Path, Lines], Path],
) -> None:
    write_lines(tmp_path / "data" / "test.jsonl", label_rows(0, [None] * 12))
    done = evaluate(
        data=tmp_path / "data",
        teacher_model=models["teacher"],
        student_model=models["student"],
        other_model=models["baseline"],
        task=label_task,
        settings='{"latency_rows": 3, "bootstrap": 200}',
        report=tmp_path / "report",
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    teacher, student = metrics["contenders"]["teacher"], metrics["contenders"]["student"]
    assert metrics["basis"] == "teacher"
    assert list(metrics["contenders"]) == ["teacher", "other", "student"]
    gap = student["metrics"]["accuracy"]["value"] - metrics["contenders"]["other"]["metrics"]["accuracy"]["value"]
    assert metrics["comparisons"]["accuracy"]["over_other"]["value"] == pytest.approx(gap)
    assert teacher["kind"] == "local"
    assert list(teacher["metrics"]) == ["inference_time"]
    assert teacher["latency_ms"]["how"] == student["latency_ms"]["how"]
    assert student["metrics"]["accuracy"]["value"] == student["agreement"]["value"]
    assert metrics["reductions"]["parameters"]["reduction"] == 1 - student["parameters"] / teacher["parameters"]
    assert metrics["retention"] is None
    assert metrics["notes"][0].startswith("No held-out row has a reference")


def test_a_model_that_does_not_exist_is_not_found_and_leaves_no_traceback(
    prepared: tuple[Path, Lines], evaluate: Evaluate, label_task: str
) -> None:
    folder, _ = prepared
    done = evaluate(data=folder / "data", student_model=folder / "none", task=label_task, report=folder / "report")
    assert done.returncode == 5
    assert (
        done.stderr
        == f"error: {folder / 'none'}: is not a model folder: it and those below lack a config.json with weights\n"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "no model is given"),
        ({"baseline_id": "scratch"}, "--baseline-id scratch needs --student-model"),
        ({"student_id": "a/b", "student_model": "x"}, "--student-model and --student-id are both given"),
        ({"student_id": "a/b", "settings": '{"metrics": ["acuracy"]}'}, "did you mean 'accuracy'?"),
        ({"student_id": "a/b", "task": '{"type": "nlp"}'}, "task.type"),
    ],
)
def test_wrong_arguments_are_told_before_any_model_is_loaded(
    prepared: tuple[Path, Lines], evaluate: Evaluate, label_task: str, arguments: dict[str, str], text: str
) -> None:
    folder, _ = prepared
    done = evaluate(**({"data": folder / "data", "task": label_task, "report": folder / "report"} | arguments))
    assert done.returncode == 3
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_without_any_yardstick_are_refused(
    tmp_path: Path,
    evaluate: Evaluate,
    label_task: str,
    label_rows: Callable[..., Lines],
    write_lines: Callable[[Path, Lines], Path],
) -> None:
    write_lines(tmp_path / "data" / "test.jsonl", label_rows(0, [None]))
    done = evaluate(data=tmp_path / "data", student_id="a/b", task=label_task, report=tmp_path / "report")
    assert done.returncode == 3
    assert "no row has a reference and there is no teacher" in done.stderr
