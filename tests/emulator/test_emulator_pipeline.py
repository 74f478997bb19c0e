"""The unmodified SDK against the emulated Azure: from registering to a registered model."""

# Without `from __future__ import annotations`: the SDK reads the annotations of a pipeline's function.

from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import Input, MLClient, Output, dsl, load_component
from azure.ai.ml.entities import Data, Model, PipelineJob

from tests.emulator import throwaway
from tests.emulator.fixture import Azure


@pytest.fixture
def client(azure: Azure) -> MLClient:
    return throwaway.with_environment(azure.client())


def two_steps(folder: Path, *, data: str = "", **given: Any) -> PipelineJob:
    shout = load_component(throwaway.shout(folder))
    count = load_component(throwaway.count(folder))
    text = folder / "words.txt"
    text.write_text("hello ")

    def words(text: Input) -> dict[str, Any]:
        shouting = shout(text=text, **given)
        counting = count(shouted=shouting.outputs.shouted)
        return {"shouted": shouting.outputs.shouted, "counted": counting.outputs.counted}

    job: PipelineJob = dsl.pipeline(default_compute="cpu-cluster")(words)(
        text=Input(type="uri_file", path=data or str(text))
    )
    job.experiment_name = "words"
    return job


def test_two_steps_run_from_what_was_uploaded(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    job = two_steps(tmp_path, times=3, suffix="it's")
    submitted = client.jobs.create_or_update(job)
    assert submitted.studio_url
    for file in ("words.txt", "shout_code/shout.py", "common/helper.py"):
        (tmp_path / file).unlink()
    assert azure.wait(submitted.name) == "Failed", "a single quote in a literal ends the quotes of the command"
    (tmp_path / "again").mkdir()
    submitted = client.jobs.create_or_update(two_steps(tmp_path / "again", times=3, suffix="!"))
    assert azure.wait(submitted.name) == "Completed", azure.run(submitted.name).error
    assert client.jobs.get(submitted.name).status == "Completed"
    children = {child.display_name: child for child in client.jobs.list(parent_job_name=submitted.name)}
    assert {name: child.status for name, child in children.items()} == {
        "shouting": "Completed",
        "counting": "Completed",
    }
    assert azure.log(children["shouting"].name) == "reading words.txt\n"
    data = client.data.get(f"azureml_{submitted.name}_output_data_counted", version="1")
    location = azure.workspace.locate(data.path)
    assert azure.storage.read(location / "count.txt").split() == [b"19"]
    assert azure.recorder.unexpected == []


def test_logs_and_outputs_are_downloaded(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    name = client.jobs.create_or_update(two_steps(tmp_path)).name
    assert azure.wait(name) == "Completed"
    child = azure.steps(name)["shouting"].id
    client.jobs.download(child, download_path=tmp_path / "logs")
    assert (tmp_path / "logs/artifacts/user_logs/std_log.txt").read_text() == "reading words.txt\n"
    assert (tmp_path / "logs/artifacts/outputs/note.txt").read_text() == "kept"
    client.jobs.download(child, download_path=tmp_path / "out", output_name="shouted")
    assert (tmp_path / "out/named-outputs/shouted/deep/shouted.txt").read_text() == "HELLO "


def test_stream_shows_the_pipelines_log(
    azure: Azure, client: MLClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = client.jobs.create_or_update(two_steps(tmp_path)).name
    client.jobs.stream(name)
    shown = capsys.readouterr().out
    assert f"RunId: {name}" in shown
    assert "counting Completed" in shown


def test_model_is_registered_from_a_job_and_downloaded(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    name = client.jobs.create_or_update(two_steps(tmp_path)).name
    assert azure.wait(name) == "Completed"
    path = f"azureml://jobs/{name}/outputs/shouted/paths/deep"
    model = client.models.create_or_update(Model(name="loud", path=path, type="custom_model", tags={"job": name}))
    assert (model.version, model.job_name) == ("1", name)
    assert client.models.create_or_update(Model(name="loud", path=path)).version == "2"
    client.models.download("loud", "1", download_path=tmp_path / "model")
    assert [file.read_text() for file in (tmp_path / "model").rglob("*.txt")] == ["HELLO "]
    with pytest.raises(Exception, match="no output nothing"):
        client.models.create_or_update(Model(name="loud", path=f"azureml://jobs/{name}/outputs/nothing"))


def test_named_output_becomes_a_model(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    made = load_component(
        throwaway.component(
            tmp_path,
            "made",
            "echo weights > ${{outputs.model}}/weights.bin",
            outputs={"model": {"type": "custom_model"}},
        )
    )

    def making() -> None:
        node = made()
        node.outputs.model = Output(type="custom_model", name="made", version="7")

    name = client.jobs.create_or_update(dsl.pipeline(default_compute="serverless")(making)()).name
    assert azure.wait(name) == "Completed", azure.run(name).error
    assert client.models.get("made", "7").job_name == name


def test_data_assets_and_datastore_paths_are_inputs(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("asset ")
    asset = client.data.create_or_update(
        Data(name="words", version="3", path=str(tmp_path / "words.txt"), type="uri_file")
    )
    for path in ("azureml:words:3", asset.path):
        name = client.jobs.create_or_update(two_steps(tmp_path, data=path)).name
        assert azure.wait(name) == "Completed", azure.run(name).error
        out = azure.workspace.locate(azure.steps(name)["shouting"].outputs["shouted"].uri)
        assert azure.storage.read(out / "deep/shouted.txt") == b"ASSET "


def test_unchanged_job_uploads_nothing_and_reuses_its_steps(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    first = client.jobs.create_or_update(two_steps(tmp_path)).name
    assert azure.wait(first) == "Completed"
    azure.recorder.clear()
    second = client.jobs.create_or_update(two_steps(tmp_path)).name
    assert azure.wait(second) == "Completed"
    assert azure.recorder.uploads == []
    assert first != second
    children = {child.display_name: child for child in client.jobs.list(parent_job_name=second)}
    assert children["counting"].properties["azureml.reusedrunid"] == azure.steps(first)["counting"].id
    job = two_steps(tmp_path)
    job.settings.force_rerun = True
    third = client.jobs.create_or_update(job).name
    assert azure.wait(third) == "Completed"
    assert not any("azureml.isreused" in run.properties for run in azure.steps(third).values())


def test_jobs_are_listed_page_by_page_without_archived_ones(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    name = client.jobs.create_or_update(two_steps(tmp_path)).name
    names = [name]
    for number in range(24):
        azure.workspace.jobs[f"copy-{number}"] = azure.workspace.jobs[name]
        azure.workspace.runs[f"copy-{number}"] = azure.workspace.runs[name].__class__(f"copy-{number}", "copy")
        names.append(f"copy-{number}")
    assert [job.name for job in client.jobs.list()] == names[::-1]
    client.jobs.archive("copy-3")
    assert "copy-3" not in [job.name for job in client.jobs.list()]
