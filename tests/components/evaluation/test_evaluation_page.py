from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from evaluation.cards import cards
from evaluation.charts import all_charts
from evaluation.page import facts, figures, render
from evaluation.svg import Axis, Canvas, linear_ticks
from evaluation.tables import comparison_columns, comparison_rows, figure_rows, reduction_rows
from evaluation.verdict import lede
from evaluation.wording import count, milliseconds, points, size

EVIL = "</script><script>alert('x')</script> & \"quoted\" <img src=http://evil.example/x onerror=alert(1)>"
VOID = {"meta", "br", "img", "line", "link"}


class Page(HTMLParser):
    """Collects tags and text and checks that every element is closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "xlink:href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID or tag == "line":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)


def contender(name: str, value: float, weight: int, latency: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "status": "ok",
        "kind": "local",
        "n": 40,
        "metrics": {"accuracy": {"value": value, "low": value - 0.1, "high": min(1.0, value + 0.1), "n": 40}},
        "kl_to_teacher": {"value": 0.25, "low": 0.2, "high": 0.3, "n": 40},
        "perplexity": {"value": 12.0, "low": 11.0, "high": 13.0, "n": 40, "bits_per_byte": 0.8},
        "calibration": {
            "ece": 0.1,
            "n": 40,
            "bins": [{"low": 0.9, "high": 1.0, "n": 40, "confidence": 0.95, "accuracy": 0.85}],
        },
        "latency_ms": {
            "p50": latency,
            "p95": 2 * latency,
            "how": "in process, batch 1",
            "n": 3,
            "samples": [latency] * 3,
        },
        "tokens_per_s": 100.0,
        "rows_per_s": 10.0,
        "ttft_ms": {"p50": latency / 4, "p95": latency / 2, "n": 3},
        "queries_per_hour": {"1": 3.6e6 / latency, "8": 7.2e6 / latency},
        "usd_per_1000_requests": None,
        "parameters": weight // 4,
        "weight_bytes": weight,
        "peak_memory_bytes": 2 * weight,
        "dtype": "float32",
        "labels": {EVIL: {"precision": 1.0, "recall": 0.5, "f1": 0.67, "support": 40}},
        "confusion": {EVIL: {EVIL: 20, "other <b>": 20}},
    } | more


@pytest.fixture
def document() -> dict[str, Any]:
    difference = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 40, "p": 0.0001, "test": "exact McNemar"}
    kept = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 40}
    return {
        "task": "classification",
        "headline": "accuracy",
        "n": 40,
        "basis": "reference",
        "rows": {"test": 40, "with_reference": 40, "without_reference": 0},
        "contenders": {
            "teacher": contender(EVIL, 0.9, 4_000_000, 100.0, usd_per_1000_requests=0.0214),
            "baseline": {"name": "b", "status": "failed", "kind": "local", "error": EVIL, "n": 0, "metrics": {}},
            "student": contender("student " + EVIL, 0.8, 40_000, 2.0),
        },
        "comparisons": {"accuracy": {"gain": difference, "to_teacher": difference, "retention": kept}},
        "retention": kept,
        "gain": difference,
        "reductions": {
            "weight_bytes": {"teacher": 4e6, "student": 4e4, "reduction": 0.99},
            "inference_time_ms": {"teacher": 100.0, "student": 2.0, "reduction": 0.98},
            "rows_per_s": {"teacher": 10.0, "student": 500.0, "reduction": -49.0},
        },
        "scales": {"accuracy": 1},
        "signatures": {},
        "summary": [EVIL],
        "notes": [EVIL],
        "gate": {"passed": False, "checks": [{"check": EVIL, "value": None, "passed": False, "reason": EVIL}]},
    }


def page(document: dict[str, Any]) -> str:
    example = {
        "id": EVIL,
        "kind": "only the teacher right",
        "prompt": [{"role": "user", "text": EVIL}],
        "reference": EVIL,
        "answers": [
            {"role": "student", "text": EVIL * 20, "mark": False},
            {"role": "teacher", "text": EVIL, "mark": EVIL},
        ],
    }
    training = {"loss": [{"step": step, "loss": 1 / step} for step in range(1, 30)]}
    return render(
        figures(document | {"provenance": {"command": f"python -m evaluation {EVIL}"}}, training)
        | {
            "title": document["contenders"]["student"]["name"],
            "examples": [example],
            "kinds": {"only the teacher right": 3},
            "splits": {EVIL: [(EVIL, EVIL)]},
            "sections": [("Data", [(EVIL, EVIL)]), ("Lineage", []), ("How to reproduce", [(EVIL, EVIL)])],
        }
    )


def test_text_from_rows_and_names_stays_text_and_nothing_is_loaded(document: dict[str, Any]) -> None:
    html = page(document)
    read = Page(html)
    assert read.open == []
    assert read.tags.count("script") == 1
    assert "img" not in read.tags
    assert "b" in read.tags  # of the template's own turns, not of the label
    assert read.tags.count("b") == 1
    assert "alert" not in "".join(read.scripts)
    assert [link for link in read.links if link] == []
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*https?:", html.replace("src=http://evil", ""))
    assert EVIL in "".join(read.texts)
    assert f"python -m evaluation {EVIL}" in "".join(read.texts)


def test_the_page_has_every_chart_and_says_what_each_shows(document: dict[str, Any]) -> None:
    loss = [{"step": 1, "loss": 2}, {"step": 2, "loss": 1}]
    validation = [{"epoch": 1, "macro_f1": 0.5}, {"epoch": 2, "macro_f1": 0.75}, {"epoch": 3, "macro_f1": 0.625}]
    training = {"loss": loss, "validation": validation, "best_epoch": 2}
    assert [chart.heading for chart in all_charts(document, training)[0]] == [
        "Accuracy",
        "Latency",
        "Quality, latency and size",
        "Calibration",
        "F1 by label",
        "Confusion of the student",
        "Training loss",
        "Validation: macro f1",
    ]
    drawing = all_charts(document, training)[0][-1].drawing.__html__()
    kept = [tip for radius, tip in re.findall(r'r="([\d.]+)"><title>(.*?)</title>', drawing) if float(radius) > 3]
    assert kept == ["epoch 2: 0.75"]


def test_charts_that_have_no_data_are_left_out_with_a_reason(document: dict[str, Any]) -> None:
    document["contenders"] = {"student": {"status": "ok", "name": "s", "metrics": {}}}
    drawn, undrawn = all_charts(document, {})
    assert drawn == []
    assert len(undrawn) == 8
    assert "Calibration: the answers have no probabilities; they are written, not chosen." in undrawn


def test_a_confusion_of_many_labels_stays_readable(document: dict[str, Any]) -> None:
    many = {f"label {place}": {f"label {place}": place + 1} for place in range(60)}
    document["contenders"]["student"]["confusion"] = many
    drawing = next(chart.drawing for chart in all_charts(document, {})[0] if chart.heading.startswith("Confusion"))
    assert drawing.__html__().count("<rect") == 20 * 20


def test_the_tables_show_the_figures(document: dict[str, Any]) -> None:
    lines = {line.name: [cell.main for cell in line.cells] for line in reduction_rows(document)}
    assert lines["Memory (weights)"] == ["4\u00a0MB", "40\u00a0kB", "−99.0 %"]
    assert lines["Throughput (in batches, rows/s)"][2] == "50 ×"
    accuracy = next(line for line in figure_rows(document) if line.name == "Accuracy")
    assert [cell.main for cell in accuracy.cells] == ["90.0\u00a0%", "–", "80.0\u00a0%"]
    shown = {line.name: [(cell.main, cell.note) for cell in line.cells] for line in figure_rows(document)}
    assert shown["KL to the teacher"][2] == ("0.250", "0.200–0.300")
    assert shown["Calibration error"][2] == ("10.0\u00a0%", "")
    assert shown["Perplexity of the references"][2] == ("12", "0.8 bits a byte")
    assert "Facts recalled" not in shown
    notes = {line.name: line.note for line in figure_rows(document)}
    assert notes["KL to the teacher"] == "nats; 0 is the same, n\u00a0=\u00a040"  # once, for it is the same for all
    document["contenders"]["student"]["kl_to_teacher"]["n"] = 30
    uneven = next(line for line in figure_rows(document) if line.name == "KL to the teacher")
    assert (uneven.note, uneven.cells[2].note) == ("nats; 0 is the same", "0.200–0.300, n\u00a0=\u00a030")
    costs = {(line.name, line.note): [cell.main for cell in line.cells] for line in figure_rows(document)}
    assert costs["Time to first token", "median, in process, batch 1"] == ["25.0\u00a0ms", "–", "0.50\u00a0ms"]
    assert costs["Queries per hour", "batch 8"] == ["72,000", "–", "3.6\u00a0M"]
    assert costs["Price of 1,000 requests", "at the endpoint's prices"] == ["$0.021", "–", "–"]
    assert [card.label for card in cards(document)] == [
        "Accuracy",
        "Kept of the teacher",
        "Gain",
        "Times as fast",
        "Times as small",
    ]


def test_the_answer_in_one_sentence(document: dict[str, Any]) -> None:
    assert (
        lede(document)
        == "The student keeps 90.0\u00a0% of the teacher's accuracy at 1/100 of its size and 50 times its speed."
    )
    document["contenders"]["teacher"]["latency_ms"]["how"] = "endpoint, network included"
    document["reductions"] |= {
        "weight_bytes": None,
        "parameters": {"teacher": 671e9, "student": 3.84e9, "reduction": 0.99},
    }
    assert lede(document).endswith("accuracy at 1/175 of its size and 50 times its speed, its network included.")
    assert cards(document)[-1].value == "175 ×"
    document["reductions"]["parameters"]["student"] = 27_040
    assert cards(document)[-1].value == "24.8\u00a0M ×"  # still fits its card
    document["contenders"]["teacher"]["metrics"]["accuracy"]["value"] = 0.4
    assert "of a weak teacher's accuracy at" in lede(document)
    document["contenders"]["student"]["status"] = "failed"
    assert lede(document) == "The student could not be evaluated."
    alone = document | {"retention": None, "reductions": {}}
    alone["contenders"] = {"student": contender("s", 0.8, 1, 1.0)}
    assert lede(alone) == "The student reaches 80.0\u00a0% accuracy."


def test_only_whom_there_is_stands_in_the_comparison(document: dict[str, Any]) -> None:
    assert list(comparison_columns(document).values()) == ["untrained", "teacher", "kept of the teacher"]
    kept = document["retention"]
    document["comparisons"]["macro_f1"] = {"retention": kept, "over_other": document["gain"]}
    assert list(comparison_columns(document)) == ["gain", "over_other", "to_teacher", "retention"]
    cells = [[cell.main for cell in line.cells] for line in comparison_rows(document)]
    assert cells == [["+30.0", "–", "+30.0", "90.0\u00a0%"], ["–", "+30.0", "–", "90.0\u00a0%"]]


def test_facts_are_flattened_and_long_lists_cut() -> None:
    value = {
        "files": {"training_data": {"rows": 1200}},
        "valid": True,
        "none": None,
        "rate": 26482.7,
        "warnings": list(range(20)),
    }
    assert list(facts(value)) == [
        ("files · training data · rows", "1,200"),
        ("valid", "yes"),
        ("rate", "26,483"),
        ("warnings", "\n".join(map(str, range(12))) + "\n… and 8 more"),
    ]


def test_axes_have_round_ticks_in_order() -> None:
    assert linear_ticks(0, 1, 4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert linear_ticks(0.1, 0.93) == [0.2, 0.4, 0.6, 0.8]
    axis = Axis(0.8, 250, 0, 100, logarithmic=True)
    assert axis.ticks() == [1, 10, 100]
    assert axis(0.8) == 0
    assert axis(250) == 100
    assert Axis(2, 2, 0, 10)(2) == 5


def test_drawings_escape_their_text() -> None:
    canvas = Canvas(10, 10, EVIL)
    canvas.text(0, 0, EVIL)
    canvas.circle(0, 0, 1, "dot", EVIL)
    assert "<script" not in canvas.__html__()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (milliseconds(0.123), "0.12 ms"),
        (milliseconds(12.34), "12.3 ms"),
        (milliseconds(12_340), "12.3 s"),
        (size(999), "999 B"),
        (size(2_960_000), "2.96 MB"),
        (size(14e9), "14 GB"),
        (count(134_515_008), "135 M"),
        (count(7_200_000_000), "7.2 B"),
        (count(27_040), "27,040"),
        (points("accuracy", -0.0275), "−2.8"),
        (points("bleu_score", 1.25), "+1.2"),
    ],
)
def test_figures_are_written_for_people(given: str, shown: str) -> None:
    assert given.replace("\u00a0", " ") == shown
