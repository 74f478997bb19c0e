"""What a step sees and leaves behind, how it is stopped, and how its log is followed."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient, Output, PyTorchDistribution, load_component
from azure.ai.ml.entities import PipelineJob, PipelineJobSettings

from tests.emulator import throwaway
from tests.emulator.fixture import Azure


@pytest.fixture
def client(azure: Azure) -> MLClient:
    return throwaway.with_environment(azure.client())


def shell(folder: Path, command: str, **settings: Any) -> PipelineJob:
    step = load_component(throwaway.shell(folder, "shell", command))
    return throwaway.only(step, **settings)


def submitted(client: MLClient, job: PipelineJob) -> str:
    return str(client.jobs.create_or_update(job).name)


def test_steps_cannot_import_the_project(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    command = "python -c 'import numpy; print(numpy.__name__)'; ! python -c 'import azure_distill' && env"
    name = submitted(client, shell(tmp_path, command, environment_variables={"EXTRA": "yes"}))
    assert azure.wait(name) == "Completed"
    step = azure.steps(name)["step"]
    log = azure.log(step.id)
    assert log.startswith("numpy\n")
    assert "No module named 'azure_distill'" in log
    seen = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
    assert (seen["AZUREML_RUN_ID"], seen["AZUREML_ROOT_RUN_ID"], seen["EXTRA"]) == (step.id, name, "yes")
    assert not {"PYTHONPATH", "AZURE_CLIENT_SECRET", "AZURE_DISTILL_HOME"} & seen.keys()


def test_steps_read_a_connection_and_a_vault_with_their_own_identity(
    azure: Azure, client: MLClient, tmp_path: Path
) -> None:
    azure.workspace.connections["teacher"] = ("https://teacher.example/v1", "connection-canary")
    azure.workspace.secrets["teacher-key"] = "vault-canary"
    program = tmp_path / "src" / "read.py"
    program.parent.mkdir()
    program.write_text(
        "import json, os, urllib.request\n"
        "from azure.ai.ml import MLClient\n"
        "from azure.identity import DefaultAzureCredential\n"
        "identity = DefaultAzureCredential()\n"
        "names = [os.environ['AZUREML_ARM_' + part] for part in ('SUBSCRIPTION', 'RESOURCEGROUP', 'WORKSPACE_NAME')]\n"
        "found = MLClient(identity, *names).connections.get('teacher', populate_secrets=True)\n"
        "token = identity.get_token('https://vault.azure.net/.default').token\n"
        "url = 'https://emuvault.vault.azure.net/secrets/teacher-key?api-version=7.4'\n"
        "request = urllib.request.Request(url, headers={'Authorization': 'Bearer ' + token})\n"
        "secret = json.load(urllib.request.urlopen(request))['value']\n"
        "print(found.credentials.key[::-1], secret[::-1])\n"
    )
    step = load_component(throwaway.component(tmp_path, "reader", "python read.py", code="src"))
    name = submitted(client, throwaway.only(step))
    assert azure.wait(name) == "Completed", azure.run(name).error
    assert azure.log(azure.steps(name)["step"].id).splitlines()[-1] == "yranac-noitcennoc yranac-tluav"
    assert azure.recorder.holding("canary") == []
    assert azure.storage.holding(b"canary") == []
    assert azure.recorder.unexpected == []


def test_log_grows_while_the_step_runs_and_cancel_ends_all_of_it(
    azure: Azure, client: MLClient, tmp_path: Path
) -> None:
    flag = tmp_path / "left-behind"
    command = f"(trap '' TERM; sleep 8; touch {flag}) & echo first; sleep 0.5; echo second; sleep 60"
    name = submitted(client, shell(tmp_path, command))
    while not (children := list(client.jobs.list(parent_job_name=name))):
        time.sleep(0.05)
    child = children[0].name
    azure.wait_for(child, "Running")
    while "first" not in azure.log(child):
        time.sleep(0.02)
    details = client.jobs._runs_operations.get_run_details(child)
    url = details.log_files["user_logs/std_log.txt"]
    while "second" not in azure.log(child):
        time.sleep(0.05)
    ranged = urllib.request.Request(url, headers={"x-ms-range": "bytes=6-", "x-ms-version": "2021-12-02"})
    with urllib.request.urlopen(ranged) as answer:
        assert (answer.status, answer.read()) == (206, b"second\n")
    client.jobs.begin_cancel(name).wait()
    assert azure.run(child).status == "Canceled"
    assert client.jobs.get(name).status == "Canceled"
    time.sleep(0.2)
    assert not flag.exists()
    assert not list(azure.server.step_folder.iterdir())


def test_failed_step_names_itself_and_shows_the_end_of_its_log(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    name = submitted(client, shell(tmp_path, "echo 'error: no rows' >&2; exit 3"))
    assert azure.wait(name) == "Failed"
    step = azure.steps(name)["step"]
    assert step.error is not None
    assert "exited with status code 3" in step.error[1]
    details = client.jobs._runs_operations.get_run_details(name)
    assert "step: Execution failed." in details.error.error.message
    assert "error: no rows" in details.error.error.message
    with pytest.raises(Exception, match="status code 3"):
        client.jobs.stream(name)


def test_other_steps_go_on_only_where_the_job_says_so(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    from azure.ai.ml import dsl

    bad = load_component(throwaway.shell(tmp_path, "bad", "exit 1"))
    slow = load_component(throwaway.shell(tmp_path, "slow", "sleep 1"))
    after = load_component(throwaway.count(tmp_path))

    def both() -> None:
        one = bad()
        two = slow()
        after(shouted=one.outputs.out)
        assert two

    for goes_on, slow_status in ((False, "Canceled"), (True, "Completed")):
        job: PipelineJob = dsl.pipeline(default_compute="cpu-cluster")(both)()
        job.experiment_name = "both"
        job.settings = PipelineJobSettings(default_compute="cpu-cluster", continue_on_step_failure=goes_on)
        name = submitted(client, job)
        assert azure.wait(name) == "Failed"
        statuses = {step: run.status for step, run in azure.steps(name).items()}
        assert statuses == {"one": "Failed", "two": slow_status}


def test_step_over_its_time_limit_is_canceled(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    job = shell(tmp_path, "sleep 60")
    job.jobs["step"].set_limits(timeout=1)
    name = submitted(client, job)
    assert azure.wait(name) == "Failed"
    step = azure.steps(name)["step"]
    assert (step.status, step.error) == ("Canceled", ("JobTimedOut", "The job took longer than its limit, PT1S."))


def test_distributed_step_runs_every_rank(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    job = shell(
        tmp_path,
        "echo rank $RANK of $WORLD_SIZE local $LOCAL_RANK node $NODE_RANK at $MASTER_ADDR; "
        "touch ${{outputs.out}}/$RANK",
        distribution=PyTorchDistribution(process_count_per_instance=2),
        resources={"instance_count": 2},
    )
    name = submitted(client, job)
    assert azure.wait(name) == "Completed", azure.run(name).error
    step = azure.steps(name)["step"]
    logs = [azure.log(step.id, f"user_logs/std_log_process_{rank}.txt") for rank in range(4)]
    assert logs[3] == "rank 3 of 4 local 1 node 1 at 127.0.0.1\n"
    out = azure.workspace.locate(step.outputs["out"].uri)
    assert len(azure.storage.names(out)) == 4


def test_mounted_output_shows_what_lies_there_and_keeps_what_a_failed_step_wrote(
    azure: Azure, client: MLClient, tmp_path: Path
) -> None:
    command = "cd ${{outputs.out}}; ls; touch old-$(ls | wc -l); rm -f old-1; test -e old-2"
    store = Output(type="uri_folder", mode="rw_mount", path="azureml://datastores/workspaceblobstore/paths/answers/")
    found = []
    for _ in range(2):
        job = shell(tmp_path, command.replace("rm", "test $(ls | wc -l) = 1 || rm"))
        job.jobs["step"].outputs["out"] = store
        name = submitted(client, job)
        azure.wait(name)
        found.append((azure.run(name).status, azure.log(azure.steps(name)["step"].id)))
    assert [status for status, _ in found] == ["Failed", "Failed"]
    assert found[1][1] == "old-0\n"


def test_registry_model_is_an_input(azure: Azure, client: MLClient, tmp_path: Path) -> None:
    from azure.ai.ml import Input, dsl

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text(json.dumps({"size": 3}))
    uri = azure.add_registry_model("azureml", "tiny", "2", tmp_path / "weights")
    file = throwaway.component(
        tmp_path, "show", "cat ${{inputs.model}}/config.json", inputs={"model": {"type": "custom_model"}}
    )
    show = load_component(file)

    def showing() -> None:
        show(model=Input(type="custom_model", path=uri))

    job: PipelineJob = dsl.pipeline(default_compute="gpu-cluster")(showing)()
    name = submitted(client, job)
    assert azure.wait(name) == "Completed", azure.run(name).error
    assert azure.log(azure.steps(name)["show"].id) == '{"size": 3}'
