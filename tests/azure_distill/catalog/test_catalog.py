"""The catalog: every entry says what a user has to know before choosing it."""

from __future__ import annotations

from datetime import date, timedelta
from io import StringIO

import pytest
from rich.console import Console

from azure_distill.catalog.models import CatalogModel, students, teachers
from azure_distill.cli.models import REACHED, catalog_table
from azure_distill.spec.checks import HUB_ID, PYPI_ID

# whose makers do not publish their size
UNPUBLISHED = ("gpt-4", "gpt-5", "claude")
EVERY_TEACHER = [pytest.param(model, id=model.name) for model in teachers().values()]
EVERY_STUDENT = [pytest.param(model, id=model.name) for model in students().values()]


def test_the_models_of_the_field_are_there() -> None:
    assert {"deepseek-v3", "llama-3.1-405b", "llama-3.3-70b", "gpt-4", "gpt-4o", "gpt-4.1", "gpt-5"} <= set(teachers())
    assert {"claude-opus", "gpt-oss-120b", "smollm2-135m-instruct"} <= set(teachers())
    assert {"phi-4-mini", "phi-4", "llama-3.1-8b", "phi-3-mini", "phi-3.5-mini", "nano-llama"} <= set(students())
    assert any(name.startswith("smollm2") for name in students())


@pytest.mark.parametrize("model", EVERY_TEACHER)
def test_a_teacher_says_how_large_it_is_and_how_it_is_reached(model: CatalogModel) -> None:
    assert model.context
    assert model.parameters or model.name.startswith(UNPUBLISHED)
    assert model.access in REACHED
    if model.access != "endpoint":
        assert HUB_ID.match(model.weights or "") or PYPI_ID.match(model.weights or "")
    if model.access != "hosted":
        assert model.endpoint_model


@pytest.mark.parametrize("model", EVERY_STUDENT)
def test_a_student_says_how_large_it_is_and_where_its_weights_are(model: CatalogModel) -> None:
    assert model.context
    assert model.parameters
    assert model.recipe or HUB_ID.match(model.weights or "") or PYPI_ID.match(model.weights or "")


@pytest.mark.parametrize(
    ("days", "said"), [(-1, "was retired"), (0, "was retired"), (1, "retires"), (183, "retires"), (184, None)]
)
def test_a_model_that_retires_within_half_a_year_is_warned_of(days: int, said: str | None) -> None:
    today = date(2026, 6, 1)
    warning = CatalogModel("m", "Model", retires_on=today + timedelta(days)).retirement(today)
    assert (warning is None) == (said is None)
    assert said is None or said in (warning or "")


@pytest.mark.parametrize("width", [80, 120])
def test_names_and_dates_are_whole_in_a_narrow_window(width: int) -> None:
    page = StringIO()
    screen = Console(width=width, file=page)
    for kind, models in (("teachers", teachers()), ("students", students())):
        screen.print(catalog_table(kind, models.values(), width))
    shown = page.getvalue()
    for model in (*teachers().values(), *students().values()):
        assert f"{model.name} " in shown
        assert str(model.retires_on or "") in shown
