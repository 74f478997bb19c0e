"""report.html as people see it: in a real headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser

Lines = list[dict[str, Any]]
EVIL = (
    "</script><script>document.title='owned'</script><img src=http://evil.example/x onerror=\"document.title='owned'\">"
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="needs Chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def report(
    tmp_path_factory: pytest.TempPathFactory,
    models: dict[str, Path],
    evaluate: Callable[..., subprocess.CompletedProcess[str]],
) -> Path:
    """A real report on rows and labels that try to be HTML."""
    folder = tmp_path_factory.mktemp("page")
    labels = ["sport", "politics", EVIL]
    rows, answers = [], []
    for place in range(36):
        prompt = {"role": "user", "content": f"Topic of article {place}? {EVIL}" + " so long" * (place % 5) ** 4}
        row = {"id": f"r{place}", "reference": labels[place % 3]}
        rows.append(row | {"messages": [prompt, {"role": "assistant", "content": row["reference"]}]})
        answers.append(row | {"messages": [prompt, {"role": "assistant", "content": labels[place % 7 % 3]}]})
    for path, lines in (("data/test.jsonl", rows), ("responses/test.jsonl", answers)):
        (folder / path).parent.mkdir()
        (folder / path).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "responses" / "usage.json").write_text(json.dumps({"teacher": EVIL, "latency_ms": {"p50": 410.0}}))
    student = shutil.copytree(models["student"], folder / "student")
    (student / "training.json").write_text(json.dumps({"loss": [{"step": s, "loss": 2 / s} for s in range(1, 40)]}))
    done = evaluate(
        data=folder / "data",
        responses=folder / "responses",
        student_model=student,
        baseline_model=models["baseline"],
        task=json.dumps({"type": "classification", "labels": labels}),
        settings=json.dumps({"gate": ["accuracy >= 0.9"], "latency_rows": 8, "bootstrap": 200}),
        report=folder / "report",
    )
    assert done.returncode == 0, done.stderr
    return folder / "report" / "report.html"


@pytest.mark.parametrize(
    ("width", "dark", "media"), [(1200, False, ""), (1200, True, ""), (390, False, ""), (700, False, "print")]
)
def test_the_page_loads_alone_without_complaint_and_fits(
    browser: Browser, report: Path, width: int, dark: bool, media: str
) -> None:
    page = browser.open(report.as_uri(), width, dark, media)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelectorAll('figure svg').length") >= 6
    assert page.evaluate("document.title") == "distilled student · evaluation"
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {True: "rgb(20, 23, 26)", False: "rgb(251, 250, 247)"}[dark] if not media else "rgb(255, 255, 255)"
    assert page.screenshot().startswith(b"\x89PNG")
    assert page.requests == [report.as_uri()]
    assert page.complaints == []


@pytest.mark.parametrize("width", [1200, 390])
def test_no_chart_writes_beyond_its_edge(browser: Browser, report: Path, width: int) -> None:
    page = browser.open(report.as_uri(), width)
    beyond = """[...document.querySelectorAll('figure')].flatMap(figure => {
        const frame = figure.getBoundingClientRect();
        return [...figure.querySelectorAll('text')].filter(text => {
            const box = text.getBoundingClientRect();
            return box.left < frame.left || box.right > frame.right || box.bottom > frame.bottom;
        }).map(text => text.textContent);
    })"""
    assert page.evaluate(beyond) == []


def test_the_filter_shows_one_kind_of_example(browser: Browser, report: Path) -> None:
    page = browser.open(report.as_uri())
    shown = "[...document.querySelectorAll('article')].filter(a => a.offsetParent).map(a => a.dataset.kind)"
    kinds = set(page.evaluate(shown))
    assert len(kinds) > 1
    kind = sorted(kinds)[0]
    page.evaluate(f"document.querySelector('button[data-show={json.dumps(kind)}]').click()")
    assert set(page.evaluate(shown)) == {kind}
    page.evaluate("document.querySelector('button[data-show=\"\"]').click()")
    assert set(page.evaluate(shown)) == kinds


def test_a_long_text_is_folded_until_it_is_opened(browser: Browser, report: Path) -> None:
    page = browser.open(report.as_uri())
    fold = "document.querySelector('details.fold')"
    shown = f"[{fold}.querySelector('summary').offsetHeight > 0, {fold}.innerText.length]"
    assert page.evaluate(f"{fold}.querySelector('summary').innerText").endswith(" characters")
    summary, folded = page.evaluate(shown)
    assert summary
    page.evaluate(f"{fold}.querySelector('summary').click()")
    summary, whole = page.evaluate(shown)
    assert not summary  # the beginning does not stand twice
    assert whole > 500 > folded


def test_it_says_first_what_is_kept_and_why_the_gate_failed(browser: Browser, report: Path) -> None:
    page = browser.open(report.as_uri())
    above = "[...document.querySelectorAll('header .lede, header .fail')].map(e => e.innerText)"
    lede, badge, reason = page.evaluate(above)
    assert lede.startswith("The student keeps ")
    assert badge == "✗ gate failed"
    assert reason.startswith("accuracy >= 0.9, but it is 0.")


def test_it_prints(browser: Browser, report: Path) -> None:
    page = browser.open(report.as_uri())
    assert page.pdf().startswith(b"%PDF")
    assert page.complaints == []
