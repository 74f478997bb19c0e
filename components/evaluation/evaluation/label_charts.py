"""The charts of tasks with labels: F1 by label, confusion, and how far probabilities can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.chart import WIDTH, Chart, grid_x, grid_y
from evaluation.statistics import wilson
from evaluation.svg import Axis, Canvas
from evaluation.wording import SHORT_NAMES, percent

MOST_LABELS = 20


def label_bars(document: Mapping[str, Any]) -> Chart | None:
    """F1 of every label, teacher and student."""
    tables = {role: contender["labels"] for role, contender in _shown(document).items() if contender.get("labels")}
    supports = {label: row["support"] for table in tables.values() for label, row in table.items()}
    labels = _commonest(supports)
    if not labels:
        return None
    few = len(labels) <= 10  # else bars are thin, and without room for their values
    bar, between = (11, 14) if few else (6, 6)
    step = (bar + 2) * len(tables) + between
    height = step * len(labels) + 44
    canvas = Canvas(WIDTH, height, "F1 by label")
    axis = Axis(0, 1, 136, WIDTH - 52)
    grid_x(canvas, axis, 4, height - 44, lambda value: f"{100 * value:g} %")
    for place, label in enumerate(labels):
        y = 8 + step * place
        canvas.text(128, y + (step - between) / 2 + 4, _cut(label, 15), "name", "end")
        for offset, (role, table) in enumerate(tables.items()):
            row = table.get(label, {"f1": 0.0, "precision": 0.0, "recall": 0.0, "support": 0})
            tip = f"{SHORT_NAMES[role]}, {label}: F1 {percent(row['f1'])}, precision {percent(row['precision'])}, "
            tip += f"recall {percent(row['recall'])}, n = {row['support']}"
            top = y + (bar + 2) * offset
            canvas.rect(axis(0), top, axis(row["f1"]) - axis(0), bar, role, tip, rx=2)
            if few:
                canvas.text(axis(row["f1"]) + 5, top + 9, f"{100 * row['f1']:.0f}", "small")
    _legend(canvas, tables, height - 8)
    caption = f"In percent{_of(len(supports))}; precision and recall stand in the table below the charts."
    return Chart("F1 by label", caption, canvas)


def confusion(document: Mapping[str, Any]) -> Chart | None:
    """Which reference labels the student answers with which labels, in shares of each reference label."""
    table = document["contenders"].get("student", {}).get("confusion")
    if not table:
        return None
    rows = _commonest({label: sum(answers.values()) for label, answers in table.items()})
    said = [label for label in {label for answers in table.values() for label in answers} if label not in rows]
    columns = rows + sorted(said)[: MOST_LABELS - len(rows)]
    left, top = 120, 22
    cell = min(56.0, (WIDTH - left) / len(columns))
    canvas = Canvas(WIDTH, top + cell * len(rows) + 78, "Confusion matrix of the student")
    canvas.text(left, 12, "the student's answer →", "axis")
    canvas.text(112, 12, "reference ↓", "axis", "end")
    for i, reference in enumerate(rows):
        total = sum(table[reference].values())
        y = top + cell * i
        canvas.text(112, y + cell / 2 + 4, _cut(reference, 14), "name", "end")
        for j, answer in enumerate(columns):
            rows_here = table[reference].get(answer, 0)
            share = rows_here / total
            style = f"cell {'right' if reference == answer else 'wrong'}"
            tip = f"{reference} → {answer}: {rows_here} of {total} rows ({percent(share)})"
            canvas.rect(left + cell * j, y, cell - 2, cell - 2, style, tip, rx=3, fill_opacity=_shade(share))
            if rows_here and cell >= 18:
                ink = "count dark" if share > 0.55 else "count"
                canvas.text(left + cell * (j + 0.5) - 1, y + cell / 2 + 3, str(rows_here), ink, "middle")
    for j, answer in enumerate(columns):
        x, y = left + cell * (j + 0.5), top + cell * len(rows) + 12
        canvas.parts.append(f'<g transform="translate({x:.1f} {y:.1f}) rotate({-35 if cell >= 24 else -70})">')
        canvas.text(0, 0, _cut(answer, 15), "small", "end")
        canvas.parts.append("</g>")
    caption = f"Rows of the test set{_of(len(table))}; the darker, the larger the share of the reference label."
    return Chart("Confusion of the student", caption, canvas)


def reliability(document: Mapping[str, Any]) -> Chart | None:
    """How often answers are right against the probability that they were given."""
    known = {role: each["calibration"] for role, each in _shown(document).items() if each.get("calibration")}
    if not known:
        return None
    canvas = Canvas(WIDTH, 330, "Accuracy against confidence")
    x, y = Axis(0, 1, 52, WIDTH - 12), Axis(0, 1, 262, 14)
    grid_x(canvas, x, 14, 262, lambda value: f"{100 * value:g} %")
    grid_y(canvas, y, 52, WIDTH - 12, lambda value: f"{100 * value:g} %")
    canvas.line(x(0), y(0), x(1), y(1), "diagonal")
    canvas.text((52 + WIDTH) / 2, 296, "probability of the answer", "axis", "middle")
    canvas.text(56, 10, "↑ right answers", "axis")
    for role, found in known.items():
        canvas.path([(x(each["confidence"]), y(each["accuracy"])) for each in found["bins"]], f"curve stroke {role}")
        for each in found["bins"]:
            low, high = wilson(each["accuracy"] * each["n"], each["n"])
            canvas.line(x(each["confidence"]), y(low), x(each["confidence"]), y(high), f"whisker thin {role}")
            tip = f"{SHORT_NAMES[role]}: {percent(each['accuracy'])} right at {percent(each['confidence'])}, "
            radius = 3 + 7 * (each["n"] / found["n"]) ** 0.5
            canvas.circle(x(each["confidence"]), y(each["accuracy"]), radius, f"bubble {role}", f"{tip}n = {each['n']}")
    _legend(canvas, known, 322)
    caption = (
        "Share of right answers by their probability, with 95 % intervals; the nearer to the diagonal, the better. "
        "Large: many rows."
    )
    return Chart("Calibration", caption, canvas)


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Teacher and student, or whoever there is of them and the untrained student."""
    contenders: Mapping[str, Any] = document["contenders"]
    main = {role: contenders[role] for role in ("teacher", "student") if role in contenders}
    return main if len(main) == 2 else dict(contenders)


def _commonest(supports: Mapping[str, int]) -> list[str]:
    kept = sorted(supports, key=lambda label: -supports[label])[:MOST_LABELS]
    return sorted(kept)


def _of(labels: int) -> str:
    return f", the {MOST_LABELS} most frequent of {labels} labels" if labels > MOST_LABELS else ""


def _legend(canvas: Canvas, roles: Mapping[str, Any], y: float) -> None:
    for place, role in enumerate(roles):
        canvas.rect(136 + 96 * place, y - 10, 11, 11, role, rx=2)
        canvas.text(136 + 96 * place + 17, y, SHORT_NAMES[role], "name")


def _shade(share: float) -> float:
    return 0.06 + 0.94 * share if share else 0.03


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
