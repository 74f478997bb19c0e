"""report.html: one self-contained page for people, made from metrics.json and what the other steps left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.arguments import Arguments
from evaluation.cards import cards
from evaluation.charts import all_charts
from evaluation.heldout import TeacherAnswers, read_json
from evaluation.join import Joined
from evaluation.tables import comparison_columns, comparison_rows, figure_rows, label_rows, reduction_rows
from evaluation.verdict import lede
from evaluation.wording import SHORT_NAMES, amount, title

TEMPLATES = Path(__file__).parent / "template"
LONGEST = 8000  # characters of a text that an example holds
FOLDED = 360  # characters from which a text shows its beginning only, until it is opened
LISTED = 12  # entries of a list that a summary shows

Facts = list[tuple[str, str]]


def write_page(
    arguments: Arguments, document: Mapping[str, Any], joined: Joined, stored: TeacherAnswers | None
) -> None:
    """Write report.html beside metrics.json."""
    student = next((c for c in arguments.contenders if c.role == "student"), None)
    training = read_json(Path(student.folder) / "training.json") if student and student.folder else {}
    data = read_json(arguments.data / "data_report.json")
    context = {
        **figures(document, training),
        "title": student.name if student else document["task"],
        "examples": [_example(example, document["headline"]) for example in joined.examples],
        "kinds": dict(sorted(joined.differing.items())),
        "splits": {name: list(facts(split)) for name, split in data.get("splits", {}).items()},
        "sections": [
            ("Data", list(facts(_without(data, "splits", "problems")))),
            ("Asking the teacher", list(facts(stored.usage if stored else {}))),
            ("Training", list(facts(_without(training, "loss", "validation")))),
            ("Lineage", list(facts(document["lineage"]))),
            ("How to reproduce", list(facts(_without(document["provenance"], "command")))),
        ],
    }
    path = arguments.report / "report.html"
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(render(context), encoding="utf-8")
    temporary.replace(path)


def figures(document: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the page that is made of metrics.json and the student's training.json."""
    charts, undrawn = all_charts(document, training)
    labelled, labels = label_rows(document)
    return {
        "document": document,
        "lede": lede(document),
        "short": SHORT_NAMES,
        "cards": cards(document),
        "figures": figure_rows(document),
        "reductions": reduction_rows(document),
        "comparisons": comparison_rows(document),
        "compared": list(comparison_columns(document).values()),
        "charts": charts,
        "undrawn": undrawn,
        "labelled": labelled,
        "labels": labels,
    }


def render(context: Mapping[str, Any]) -> str:
    """The page; every value is escaped, for rows may hold anything."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(context, folded=FOLDED)


def _without(value: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in keys}


def facts(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as lines: `files · training_data · rows`, `1,200`."""
    for key, item in value.items():
        name = f"{prefix} · {key}" if prefix else str(key)
        name = name.replace("_", " ")
        if isinstance(item, Mapping):
            yield from facts(item, name)
        elif item not in (None, [], ""):
            yield name, _shown(item)


def _shown(item: object) -> str:
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, int):
        return f"{item:,}"
    if isinstance(item, float):
        return f"{item:,.0f}" if abs(item) >= 1000 else f"{item:.4g}"
    if isinstance(item, list):
        texts = [entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in item]
        return "\n".join(texts[:LISTED]) + (f"\n… and {len(texts) - LISTED} more" if len(texts) > LISTED else "")
    return str(item)


def _example(example: Mapping[str, Any], headline: str) -> dict[str, Any]:
    """`mark` of an answer is whether it is right, or how near it is to the reference, as text."""
    answers = []
    for role, text in example["answers"].items():
        if text is not None:
            mark = example["marks"][role]
            known = f"{title(headline)} {amount(headline, mark)}" if example["graded"] and mark is not None else mark
            answers.append({"role": role, "text": _shorten(text), "mark": known})
    prompt = [{"role": turn["role"], "text": _shorten(turn["content"])} for turn in example["prompt"]]
    reference = None if example["reference"] is None else _shorten(example["reference"])
    return {
        "id": example["id"],
        "kind": example["kind"],
        "prompt": prompt,
        "reference": reference,
        "answers": answers,
    }


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … and {len(text) - LONGEST:,} characters more"
