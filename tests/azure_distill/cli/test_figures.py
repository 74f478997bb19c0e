"""The comparison tables as they stand on screens of several widths."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from azure_distill.cli.figures import comparison, comparison_of_runs, interval, tell, verdict

FIGURE = {"value": 0.9, "low": 0.867, "high": 0.926, "n": 400}
MODEL = {
    "status": "ok",
    "n": 400,
    "metrics": {"accuracy": FIGURE, "macro_f1": FIGURE | {"low": None}, "inference_time": {"value": 1623.4}},
    "latency_ms": {"p50": 1623.4, "p95": 1945.0},
    "tokens_per_s": 9897.0,
    "parameters": 134_515_008,
    "weight_bytes": 269_030_016,
}
CELLS = ("0.900", "1623 ms", "1945 ms", "9,897", "135M", "269 MB", "400")
ROLES = ("teacher", "baseline", "gold_only", "other", "student")


def document(**contenders: dict[str, Any]) -> dict[str, Any]:
    return {"contenders": dict.fromkeys(ROLES, MODEL) | contenders, "gain": {"value": 0.725}}


def shown(width: int, table: str = "comparison", **contenders: dict[str, Any]) -> list[str]:
    screen = Console(file=io.StringIO(), width=width, force_terminal=False)
    made = document(**contenders)
    screen.print(comparison(made, screen) if table == "comparison" else comparison_of_runs({"a": made}, screen))
    return screen.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("table", ["comparison", "runs"])
def test_no_figure_is_cut_on_any_screen(width: int, table: str) -> None:
    lines = shown(width, table)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert all(cell in text for cell in CELLS), text
    assert "[0.867, 0.926]" in text or "0.867–0.926" in text


def test_models_are_lines_where_there_is_room_and_columns_elsewhere() -> None:
    assert [line.split()[0] for line in shown(160)] == ["MODEL", "teacher", "untrained", "gold", "other", "distilled"]
    narrow = [line.split()[0] for line in shown(80) if not line.startswith(" ")]
    assert narrow == [
        "MODEL",
        "N",
        "ACCURACY",
        "95",
        "MACRO",
        "95",
        "P50",
        "P95",
        "TOKENS/S",
        "PARAMETERS",
        "WEIGHTS",
    ]


def test_a_figure_that_runs_to_100_has_one_decimal() -> None:
    bleu = {"value": 49.549, "low": 44.706, "high": 54.703}
    assert interval(bleu, 100) == "49.5 [44.7, 54.7]"
    screen = Console(file=io.StringIO(), width=160)
    found = {"contenders": {"student": MODEL | {"metrics": {"bleu_score": bleu}}}, "scales": {"bleu_score": 100}}
    screen.print(comparison(found, screen))
    assert "49.5 [44.7, 54.7]" in screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 160])
def test_a_failed_model_takes_no_room_from_the_others(width: int) -> None:
    failed = {"status": "failed", "error": "out of memory " * 20, "n": 0, "metrics": {}}
    lines = shown(width, gold_only=failed)
    assert any("failed" in line for line in lines)
    assert max(map(len, lines)) <= width
    assert len(lines) == len(shown(width))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sentence_keeps_figures_and_their_units_together(terminal: bool) -> None:
    screen = Console(file=io.StringIO(), width=40, force_terminal=terminal)
    sentence = "The student is behind the teacher (n\u00a0=\u00a0400, p\u00a0=\u00a00.002): [bold]not[/bold] by chance."
    tell(sentence, screen)
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 40 if terminal else len(lines) == 1
    assert " ".join(lines) == sentence


def test_the_gate_is_told_under_the_table() -> None:
    checks = [
        {"check": "accuracy >= 0.9", "value": 0.95, "passed": True},
        {"check": "retention >= 1", "value": 0.5, "passed": False},
        {"check": "gain >= 0", "value": None, "passed": False, "reason": "needs the untrained student"},
    ]
    assert verdict({"summary": ["A."], "notes": ["B."], "gate": {"checks": checks}}) == [
        "A.",
        "B.",
        "Gate: accuracy >= 0.9: passed (0.95)",
        "Gate: retention >= 1: FAILED (0.5)",
        "Gate: gain >= 0: FAILED: needs the untrained student",
    ]
