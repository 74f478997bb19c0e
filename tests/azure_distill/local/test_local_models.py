from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azure_distill.errors import InvalidJob, NotFound
from azure_distill.local.models import ModelStore
from azure_distill.local.paths import Home

from .conftest import Bench


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(Home.locate(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "deep" / "weights").write_text("1")
    return tmp_path / "model"


def test_versions_count_up_and_keep_their_lineage(store: ModelStore, folder: Path) -> None:
    first = store.register("student", folder, {"teacher": "big"}, run="swift_otter_1")
    second = store.register("student", folder, {})
    assert (first.version, second.version) == (1, 2)
    assert store.get("student").version == store.get("student@latest").version == 2
    found = store.get("student:1")
    assert (found.run, found.lineage) == ("swift_otter_1", {"teacher": "big"})
    assert (Path(found.path) / "deep" / "weights").read_text() == "1"
    assert found.to_json()["path"] == str(found.path)
    assert [(model.name, model.version) for model in store.list()] == [("student", 2), ("student", 1)]


def test_a_folder_is_mlflows_where_it_has_an_mlmodel(store: ModelStore, folder: Path) -> None:
    with pytest.raises(InvalidJob, match="has no MLmodel"):
        store.register("student", folder, {}, form="mlflow")
    (folder / "MLmodel").write_text("{}")
    assert (Path(store.register("student", folder, {}, form="mlflow").path) / "MLmodel").exists()


def test_a_model_stands_for_itself(store: ModelStore, folder: Path) -> None:
    model = store.register("student", folder, {})
    (folder / "config.json").write_text("changed")
    shutil.rmtree(folder / "deep")
    assert (Path(model.path) / "config.json").read_text() == "{}"
    assert (Path(model.path) / "deep" / "weights").exists()


def test_the_output_of_a_run_is_not_copied(bench: Bench) -> None:
    run = bench.run(bench.step("one", "echo 1 > '${{outputs.out}}/weights'"))
    out = Path(run.outputs["one"]["out"])
    model = bench.backend().models.register("student", out, {}, run.name)
    assert (Path(model.path) / "weights").samefile(out / "weights")
    shutil.rmtree(run.location)
    assert (Path(model.path) / "weights").read_text() == "1\n"


def test_what_is_not_there(store: ModelStore, folder: Path) -> None:
    store.register("student", folder, {})
    with pytest.raises(NotFound) as caught:
        store.get("studnet")
    assert caught.value.hint == "did you mean 'student'?"
    for name in ("student:2", "student:x", "../student", ""):
        with pytest.raises(NotFound):
            store.get(name)


def test_a_damaged_model_hinders_no_other(store: ModelStore, folder: Path) -> None:
    store.register("sound", folder, {})
    damaged = store.register("broken", folder, {})
    (Path(damaged.path).parent / "model.json").write_text('{"name": "bro')
    assert [model.name for model in store.list()] == ["sound"]
    with pytest.raises(NotFound, match=r"model\.json is damaged"):
        store.get("broken")


def test_what_cannot_be_registered(store: ModelStore, folder: Path, tmp_path: Path) -> None:
    for name in ("../x", "", "a b"):
        with pytest.raises(InvalidJob):
            store.register(name, folder, {})
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "gone"):
        with pytest.raises(NotFound):
            store.register("student", nothing, {})
    assert store.list() == []


def test_registering_at_the_same_time_gives_each_its_number(store: ModelStore, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: store.register("student", folder, {}), range(16)))
    assert sorted(model.version for model in models) == list(range(1, 17))
    assert len(store.list()) == 16
