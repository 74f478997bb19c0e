from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.document import price_per_thousand
from evaluation.examples import EXAMPLES
from evaluation.figures import per_label, quality
from evaluation.heldout import inspect, stored_answers
from evaluation.join import OTHER, Joined, join
from evaluation.metrics import build
from shared.errors import InvalidInput, NotFound
from shared.tasks import load_task

Lines = list[dict[str, Any]]
Rows = Callable[..., Lines]
Write = Callable[[Path, Lines], Path]
Compare = Callable[..., tuple[Joined, dict[str, Any], dict[str, Any]]]


@pytest.fixture
def compare(tmp_path: Path, write_lines: Write, label_task: str) -> Compare:
    """Join rows with answers by role and compute the figures."""

    def run(
        rows: Lines, answers: dict[str, Iterable[str | None]], task: str = label_task, names: tuple[str, ...] = ()
    ) -> tuple[Joined, dict[str, Any], dict[str, Any]]:
        write_lines(tmp_path / "data" / "test.jsonl", rows)
        of = load_task(task)
        metrics = {name: build(name, of) for name in names or ("accuracy", "macro_f1")}
        given = {role: _items(texts) for role, texts in answers.items()}
        test, headline = inspect(tmp_path / "data"), next(iter(metrics))
        joined = join(test, given, of, metrics, headline, 0, tmp_path / "predictions.jsonl")
        by_role, comparisons = quality(joined, metrics, 200, 0)
        return joined, by_role, comparisons

    return run


def _items(texts: Iterable[str | None]) -> Iterator[dict[str, Any] | None]:
    return iter([None if text is None else {"answer": text, "probabilities": {text: 1.0}} for text in texts])


def test_figures_of_a_hand_counted_set(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(0, ["sport"] * 6 + ["politics"] * 4)
    student = ["sport"] * 5 + ["politics"] * 5
    teacher = ["sport"] * 10
    joined, by_role, comparisons = compare(rows, {"teacher": teacher, "student": student})
    assert by_role["student"]["accuracy"]["value"] == 0.9
    assert by_role["teacher"]["accuracy"]["value"] == 0.6
    assert by_role["student"]["macro_f1"]["value"] == pytest.approx((10 / 11 + 8 / 9) / 2)
    assert comparisons["accuracy"]["retention"]["value"] == pytest.approx(1.5)
    to_teacher = comparisons["accuracy"]["to_teacher"]
    assert to_teacher["value"] == pytest.approx(0.3)
    assert to_teacher["p"] == pytest.approx(2 * 6 / 32)  # 4 rows to 1: 2·(C(5,0)+C(5,1))/2⁵
    assert joined.confusion["student"] == {("sport", "sport"): 5, ("sport", "politics"): 1, ("politics", "politics"): 4}
    labels = per_label(joined.confusion["student"])
    assert labels["sport"] == {"precision": 1.0, "recall": 5 / 6, "f1": 10 / 11, "support": 6}


def test_swapped_answers_swap_the_figures(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(30)
    good = [row["reference"] if place % 5 else "sport" for place, row in enumerate(rows)]
    bad = [row["reference"] if place % 2 else "politics" for place, row in enumerate(rows)]
    _, first, compared = compare(rows, {"baseline": bad, "student": good})
    _, second, swapped = compare(rows, {"baseline": good, "student": bad})
    assert first["student"] == second["baseline"]
    assert first["baseline"] == second["student"]
    for name in ("accuracy", "macro_f1"):
        one, other = compared[name]["gain"], swapped[name]["gain"]
        assert one["value"] == pytest.approx(-other["value"])
        assert (one["low"], one["high"]) == pytest.approx((-other["high"], -other["low"]))
        assert one["p"] == pytest.approx(other["p"])


def test_equal_answers_differ_in_nothing(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(30)
    same = [row["reference"] if place % 3 else "sport" for place, row in enumerate(rows)]
    joined, _, comparisons = compare(rows, {"teacher": same, "baseline": same, "student": same})
    for found in comparisons.values():
        assert found["gain"]["value"] == 0
        assert found["gain"]["p"] == 1
        assert found["retention"]["value"] == 1
        assert found["retention"]["low"] <= 1 <= found["retention"]["high"]
    assert comparisons["accuracy"]["retention"]["low"] < 1  # equal on 30 rows is not equal on all
    assert joined.examples == []


def test_rows_without_reference_are_left_out_of_gold_figures_but_not_of_agreement(
    compare: Compare, label_rows: Rows
) -> None:
    rows = label_rows(0, ["sport", None, "politics", None])
    joined, by_role, _ = compare(rows, {"teacher": ["sport"] * 4, "student": ["sport"] * 3 + ["politics"]})
    assert joined.basis == "reference"
    assert by_role["student"]["accuracy"] | {"low": 0, "high": 0} == {"value": 0.5, "low": 0, "high": 0, "n": 2}
    assert joined.further["student"]["agreement"].matrix().sum(0).tolist() == [4, 3]


def test_without_any_reference_the_teacher_is_the_yardstick_and_has_no_figures_itself(
    compare: Compare, label_rows: Rows, tmp_path: Path
) -> None:
    rows = label_rows(0, [None] * 4)
    joined, by_role, comparisons = compare(
        rows, {"teacher": ["sport"] * 4, "baseline": ["politics"] * 4, "student": ["sport"] * 3 + ["politics"]}
    )
    assert joined.basis == "teacher"
    assert "teacher" not in by_role
    assert by_role["student"]["accuracy"]["value"] == 0.75
    assert comparisons["accuracy"]["gain"]["value"] == 0.75
    assert "retention" not in comparisons["accuracy"]
    first = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    assert first["correct"] == {"teacher": None, "baseline": False, "student": True}


def test_comparisons_look_at_the_rows_that_both_answered(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(0, ["sport"] * 4)
    _, by_role, comparisons = compare(
        rows, {"teacher": ["sport", None, None, "politics"], "student": ["sport", "politics", "politics", "sport"]}
    )
    assert by_role["teacher"]["accuracy"]["n"] == 2
    assert by_role["student"]["accuracy"] | {"low": 0, "high": 0} == {"value": 0.5, "low": 0, "high": 0, "n": 4}
    assert comparisons["accuracy"]["retention"]["value"] == 2.0
    assert comparisons["accuracy"]["retention"]["n"] == 2


def test_nothing_is_kept_of_a_teacher_that_is_never_right(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(0, ["sport"] * 4)
    _, _, comparisons = compare(rows, {"teacher": ["politics"] * 4, "student": ["sport"] * 4})
    assert "retention" not in comparisons["accuracy"]


def test_an_answer_that_is_no_label_has_a_column_of_its_own(compare: Compare, label_rows: Rows) -> None:
    joined, _, _ = compare(label_rows(0, ["sport"]), {"student": ["weather"]})
    assert joined.confusion["student"] == {("sport", OTHER): 1}


def test_text_metrics_have_bootstrap_intervals_around_their_value(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(0, ["a fine day in May", "rain all over the city", "the match was lost"] * 5)
    student = ["a fine day in June", "rain over the city", "they lost the match"] * 5
    names = ("bleu_score", "chrf", "rouge_l", "token_f1")
    _, by_role, comparisons = compare(
        rows, {"baseline": ["no idea"] * 15, "student": student}, '{"type": "conversation"}', names
    )
    for name in names:
        figure = by_role["student"][name]
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert comparisons[name]["gain"]["p"] < 0.05


def test_predictions_hold_every_row_in_order(compare: Compare, label_rows: Rows, tmp_path: Path) -> None:
    compare(label_rows(2), {"teacher": ["sport", None], "student": ["sport", "sport"]})
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "id": "r0",
            "reference": "sport",
            "answers": {"teacher": "sport", "student": "sport"},
            "correct": {"teacher": True, "student": True},
            "probabilities": {"sport": 1.0},
        },
        {
            "id": "r1",
            "reference": "politics",
            "answers": {"teacher": None, "student": "sport"},
            "correct": {"teacher": None, "student": False},
            "probabilities": {"sport": 1.0},
        },
    ]


def test_examples_are_of_every_kind_and_at_most_twenty(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(300)
    wrong = {"sport": "politics", "politics": "very good sport", "very good sport": "sport"}
    teacher = [row["reference"] if place % 10 else wrong[row["reference"]] for place, row in enumerate(rows)]
    student = [wrong[row["reference"]] if place % 2 else row["reference"] for place, row in enumerate(rows)]
    joined, _, _ = compare(rows, {"teacher": teacher, "student": student})
    assert len(joined.examples) == EXAMPLES
    assert {example["kind"] for example in joined.examples} == {"only the student right", "only the teacher right"}
    places = [int(example["id"][1:]) for example in joined.examples]
    assert max(places) > 150  # drawn from the whole set, not from its beginning
    assert joined.differing == {"only the student right": 30, "only the teacher right": 150}


def test_without_a_teacher_the_examples_are_the_students_mistakes(compare: Compare, label_rows: Rows) -> None:
    joined, _, _ = compare(label_rows(3), {"student": ["sport"] * 3})
    assert [example["kind"] for example in joined.examples] == ["student wrong"] * 2


def test_texts_differ_by_how_near_they_are_to_the_reference(compare: Compare, label_rows: Rows) -> None:
    rows = label_rows(0, ["a fine day"] * 4)
    student = ["a fine day", "a day", "no", "one fine day"]
    teacher = ["one day", "a fine day", "nothing", None]
    joined, _, _ = compare(
        rows, {"teacher": teacher, "student": student}, '{"type": "conversation"}', ("token_f1", "accuracy")
    )
    kinds = {example["id"]: example["kind"] for example in joined.examples}
    assert kinds == {
        "r0": "student nearer to the reference",
        "r1": "teacher nearer to the reference",
        "r2": "equally near to the reference",
        "r3": "student wrong",
    }
    assert joined.examples[0]["marks"]["student"] == 1.0


def test_without_references_nobody_is_called_wrong(compare: Compare, label_rows: Rows) -> None:
    joined, _, _ = compare(label_rows(0, [None] * 2), {"teacher": ["sport"] * 2, "student": ["sport", "politics"]})
    assert joined.differing == {"no reference": 1}


def test_leaked_and_doubled_rows_are_refused_with_their_lines(
    tmp_path: Path, write_lines: Write, label_rows: Rows
) -> None:
    rows = label_rows(4)
    write_lines(tmp_path / "train.jsonl", rows[:1])
    write_lines(tmp_path / "test.jsonl", [*rows[1:], rows[0], rows[2]])
    with pytest.raises(InvalidInput) as caught:
        inspect(tmp_path)
    path = tmp_path / "test.jsonl"
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}:4: the row 'r0' is in train.jsonl too (it has leaked)",
        f"{path}:5: the id 'r2' stands twice",
    ]


def test_a_row_that_leaked_under_another_id_is_refused_too(
    tmp_path: Path, write_lines: Write, label_rows: Rows
) -> None:
    rows = label_rows(2)
    write_lines(tmp_path / "test.jsonl", rows)
    write_lines(tmp_path / "train.jsonl", [rows[1] | {"id": "other", "reference": None}])
    with pytest.raises(InvalidInput) as caught:
        inspect(tmp_path)
    path = tmp_path / "test.jsonl"
    assert str(caught.value) == (
        f"{path}:2: the question of the row 'r1' is in train.jsonl too, under another id (it has leaked)"
    )


def test_no_rows_are_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        inspect(tmp_path)
    (tmp_path / "test.jsonl").touch()
    with pytest.raises(InvalidInput, match="has no rows"):
        inspect(tmp_path)


def test_responses_to_other_rows_are_refused(tmp_path: Path, write_lines: Write, label_rows: Rows) -> None:
    rows = label_rows(4)
    write_lines(tmp_path / "data" / "test.jsonl", rows[:2])
    write_lines(tmp_path / "responses" / "test.jsonl", rows[2:])
    with pytest.raises(InvalidInput, match="none of the held-out rows"):
        stored_answers(tmp_path / "responses", inspect(tmp_path / "data"))


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        ({"total": {"answers": 50, "cost": 0.1}, "requests": 2, "cost": 9.0}, 2.0),
        ({"requests": 40, "cost": 0.5}, 12.5),
        ({"total": {"answers": 50, "cost": None}, "requests": 40, "cost": None}, None),
        ({"requests": 0, "cost": 0.0}, None),
        ({}, None),
    ],
)
def test_the_price_of_a_request_is_read_from_what_all_answers_cost(usage: dict[str, Any], price: float | None) -> None:
    assert price_per_thousand(usage) == price
