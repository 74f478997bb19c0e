from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from evaluation.tracking import flat, track

DOCUMENT: dict[str, Any] = {
    "retention": {"value": 0.95},
    "gain": None,
    "gate": {"passed": True},
    "contenders": {
        "teacher": {"status": "failed", "metrics": {}},
        "student": {
            "metrics": {"accuracy": {"value": 0.5}, "bleu_score": {"value": float("nan")}},
            "latency_ms": {"p50": 2.0, "p95": None},
            "ttft_ms": None,
            "queries_per_hour": {"8": 100.0},
            "kl_to_teacher": {"value": 0.25},
            "calibration": {"ece": 0.125},
            "parameters": 1000,
            "usd_per_1000_requests": None,
        },
    },
}
FLAT = {
    "retention": 0.95,
    "gate_passed": 1.0,
    "student.accuracy": 0.5,
    "student.latency_ms.p50": 2.0,
    "student.queries_per_hour.8": 100.0,
    "student.kl_to_teacher": 0.25,
    "student.ece": 0.125,
    "student.parameters": 1000.0,
}


def test_figures_that_are_known_are_flat_numbers() -> None:
    assert dict(flat(DOCUMENT)) == FLAT


def test_figures_land_in_a_real_store_as_those_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    track(DOCUMENT)
    (run,) = mlflow.MlflowClient(uri).search_runs(["0"])
    assert run.data.metrics == FLAT


def test_without_an_address_or_without_mlflow_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    track(DOCUMENT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    track(DOCUMENT)
    assert capsys.readouterr().out == ""


def test_a_store_that_fails_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    track(DOCUMENT)
    assert capsys.readouterr().out.startswith("the figures could not be sent to MLflow: ")
