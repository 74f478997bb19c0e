"""What the figures mean, in plain sentences: is the gain real, what was kept, and of how good a teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.metrics import PROPORTIONS
from evaluation.wording import (
    ROLE_NAMES,
    amount,
    inline,
    milliseconds,
    money,
    p_value,
    percent,
    percent_span,
    points,
    points_span,
    rate,
    rows,
    span,
    title,
)

SIGNIFICANT = 0.05
WEAK = 0.5  # a teacher that is right less often than this is no yardstick


def summary(metrics: Mapping[str, Any]) -> list[str]:
    """The sentences on top of the report, about the headline metric and the cost of running."""
    return [
        *(_comparison(metrics, "gain", "baseline")),
        *(_comparison(metrics, "over_gold_only", "gold_only")),
        *(_comparison(metrics, "over_other", "other")),
        *_retention(metrics),
        *_teacher(metrics),
        *_judged(metrics),
        *_speed(metrics),
        *_price(metrics),
    ]


def lede(metrics: Mapping[str, Any]) -> str:
    """The answer in one sentence: what the student keeps of the teacher, and what it costs."""
    name, contenders = metrics["headline"], metrics["contenders"]
    student = contenders.get("student", {})
    figure, kept = student.get("metrics", {}).get(name), metrics["retention"]
    if student.get("status") == "failed":
        return "The student could not be evaluated."
    if kept:
        weak = _is_weak(metrics, contenders["teacher"]["metrics"][name])
        told = f"The student keeps {percent(kept['value'])} of {'a weak' if weak else 'the'} teacher's {inline(name)}"
    elif figure and metrics["basis"] == "teacher":
        told = f"The student answers like the teacher: {amount(name, figure['value'])} {inline(name)}"
    elif figure:
        told = f"The student reaches {amount(name, figure['value'])} {inline(name)}"
    else:
        return ""
    cheaper = " and ".join(_cheaper(metrics))
    return f"{told}{' at ' if cheaper else ''}{cheaper}."


def _cheaper(metrics: Mapping[str, Any]) -> Iterator[str]:
    """`1/91 of its size`, `34 times its speed`; nothing where the student is no cheaper."""
    reductions = metrics["reductions"]
    size = reductions.get("weight_bytes") or reductions.get("parameters")
    network = "" if alike(metrics["contenders"]) else ", its network included"
    for found, form in (
        (size, "1/{} of its size"),
        (reductions.get("inference_time_ms"), f"{{}} times its speed{network}"),
    ):
        if found and found["student"] and found["teacher"] > found["student"]:
            times = found["teacher"] / found["student"]
            yield form.format(f"{times:.2g}" if times < 99.5 else rate(times))


def alike(contenders: Mapping[str, Any]) -> bool:
    """Whether teacher and student were timed in the same way."""
    ways = [(contenders.get(role, {}).get("latency_ms") or {}).get("how") for role in ("teacher", "student")]
    return ways[0] == ways[1]


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the figures."""
    return [*_basis(metrics), *_missing(metrics), *_cost_notes(metrics), *_failures(metrics)]


def _comparison(metrics: Mapping[str, Any], key: str, role: str) -> Iterator[str]:
    name = metrics["headline"]
    found = metrics["comparisons"].get(name, {}).get(key)
    if not found:
        return
    evidence = f"95 % interval {points_span(name, found)}, {p_value(found['p'])}, {found['test']}, {rows(found['n'])}"
    if found["p"] < SIGNIFICANT:
        kind = "the gain is real" if found["value"] > 0 else "the loss is real"
    else:
        kind = "the difference may be chance"
    yield (
        f"{title(name)} of the distilled student against the {ROLE_NAMES[role]}: "
        f"{points(name, found['value'])} points ({evidence}): {kind}."
    )


def _retention(metrics: Mapping[str, Any]) -> Iterator[str]:
    name = metrics["headline"]
    kept, gap = (metrics["comparisons"].get(name, {}).get(key) for key in ("retention", "to_teacher"))
    if not kept or not gap:
        return
    interval = f" (95 % interval {percent_span(kept)})" if kept["low"] is not None else ""
    if gap["p"] >= SIGNIFICANT:
        meaning = "the difference to the teacher may be chance"
    else:
        meaning = "the student is " + ("better than" if gap["value"] > 0 else "behind") + " the teacher beyond chance"
    yield (
        f"The student keeps {percent(kept['value'])} of the teacher's {inline(name)}{interval}; {meaning} "
        f"({points(name, gap['value'])} points, {p_value(gap['p'])}, {rows(gap['n'])})."
    )


def _teacher(metrics: Mapping[str, Any]) -> Iterator[str]:
    name = metrics["headline"]
    teacher = metrics["contenders"].get("teacher", {}).get("metrics", {}).get(name)
    if not teacher:
        return
    interval = f" (95 % interval {span(name, teacher)})" if span(name, teacher) else ""
    reached = f"{amount(name, teacher['value'])} {inline(name)}"
    yield f"The teacher itself reaches {reached} against the references{interval}."
    if _mostly_wrong(metrics, teacher):
        yield "The teacher is wrong more often than right: keeping much of a weak teacher means little."
    if _like_the_majority(metrics, teacher):
        yield (
            "The teacher is not surely better than always answering the most frequent label "
            f"({percent(metrics['majority_share'])} of the rows): keeping much of a weak teacher means little."
        )


def _is_weak(metrics: Mapping[str, Any], teacher: Mapping[str, Any]) -> bool:
    return _mostly_wrong(metrics, teacher) or _like_the_majority(metrics, teacher)


def _mostly_wrong(metrics: Mapping[str, Any], teacher: Mapping[str, Any]) -> bool:
    return bool(metrics["headline"] in PROPORTIONS and teacher["value"] < WEAK)


def _like_the_majority(metrics: Mapping[str, Any], teacher: Mapping[str, Any]) -> bool:
    share = metrics.get("majority_share")
    return bool(metrics["headline"] == "accuracy" and share is not None and teacher["low"] <= share)


def _judged(metrics: Mapping[str, Any]) -> Iterator[str]:
    found = metrics.get("judge")
    if not found or not found.get("n"):
        return
    interval = f", 95 % interval {percent_span(found)}" if found["low"] is not None else ""
    meaning = "a difference beyond chance" if found["p"] < SIGNIFICANT else "the difference may be chance"
    yield (
        f"Asked in both orders, {found['model']} prefers the student's answer in {found['wins']} rows, the teacher's "
        f"in {found['losses']} and neither in {found['ties']}: {percent(found['value'])} for the student, a tie "
        f"counting half{interval}, {p_value(found['p'])}: {meaning}."
    )


def _speed(metrics: Mapping[str, Any]) -> Iterator[str]:
    found = metrics["reductions"].get("inference_time_ms")
    if not found or not found["student"]:
        return
    how = "both in process, batch 1"
    if not alike(metrics["contenders"]):
        how = f"the teacher {metrics['contenders']['teacher']['latency_ms']['how']}, the student in process"
    yield (
        f"A request takes {milliseconds(found['student'])} instead of {milliseconds(found['teacher'])} "
        f"(median; {how}): {rate(found['teacher'] / found['student'])} times as fast."
    )


def _price(metrics: Mapping[str, Any]) -> Iterator[str]:
    student = metrics["contenders"].get("student", {})
    limit = student.get("break_even_usd_per_hour")
    if limit:
        price = money(metrics["contenders"]["teacher"]["usd_per_1000_requests"])
        most = rate(max(student["queries_per_hour"].values()))
        yield (
            f"1,000 requests cost {price} at the teacher's endpoint. The student answers up to {most} an hour here: it "
            f"is cheaper where an hour of such a machine, kept busy, costs less than {money(limit)}."
        )


def _basis(metrics: Mapping[str, Any]) -> Iterator[str]:
    held_out = metrics["rows"]
    if metrics["basis"] == "teacher":
        yield (
            "No held-out row has a reference: every quality figure is agreement with the teacher's answers, and says "
            "nothing about how often the teacher is right."
        )
    elif held_out["without_reference"]:
        yield (
            f"{held_out['without_reference']:,} of {held_out['test']:,} held-out rows have no reference; they count "
            "only in the agreement with the teacher."
        )


def _missing(metrics: Mapping[str, Any]) -> Iterator[str]:
    teacher = metrics["contenders"].get("teacher", {})
    missing = teacher.get("unanswered", 0)
    if missing:
        yield (
            f"Held-out rows without an accepted answer of the teacher: {missing:,} ({teacher.get('rejected', 0):,} "
            "rejected). Its figures and the comparison with it leave them out, which flatters the teacher rather than "
            "the student."
        )


def _cost_notes(metrics: Mapping[str, Any]) -> Iterator[str]:
    for contender in metrics["contenders"].values():
        if contender.get("truncated_prompts"):
            yield f"{contender['name']}: {contender['truncated_prompts']:,} prompts were cut to the model's window."
        if contender.get("cut_answers"):
            yield f"{contender['name']}: {contender['cut_answers']:,} answers ran into max_new_tokens."
        if contender.get("empty_answers"):
            yield f"{contender['name']}: {contender['empty_answers']:,} answers are empty."
        if contender.get("cost_error"):
            yield f"{contender['name']} could not be timed: {contender['cost_error']}"


def _failures(metrics: Mapping[str, Any]) -> Iterator[str]:
    judge = metrics.get("judge") or {}
    if "error" in judge:
        yield f"The judge {judge['model']} could not be asked: {judge['error']}"
    if judge.get("unclear"):
        yield f"Rows on which the judge gave no clear answer, left out of its figures: {judge['unclear']}."
    for contender in metrics["contenders"].values():
        if contender["status"] == "failed":
            yield f"{contender['name']} could not be evaluated: {contender['error']}"
