"""Registries: components, environments and models that several workspaces share."""

from __future__ import annotations

from pathlib import Path

import pytest

from azure_distill.client import DistillClient
from azure_distill.cloud.register import Registrar
from azure_distill.cloud.registries import Registry
from azure_distill.errors import ConfigurationError, NotFound
from azure_distill.plan.plan import DataUri
from tests.azure_distill.cloud.conftest import Bench, plan


def test_components_and_environments_are_registered_once(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    shared = bench.azure.server.add_registry("shared")
    component = bench.component("hello", "python main.py")

    def register() -> list[tuple[str, bool]]:
        registrar = Registrar(Registry("shared", bench.azure.credential()))
        return [(asset.reference, asset.new) for asset in registrar.components([component], environments=True)]

    first = register()
    (environment, new), (hello, _) = first
    assert new
    assert environment.startswith("azureml://registries/shared/environments/azure-distill-cpu/versions/")
    assert hello.startswith("azureml://registries/shared/components/test_hello/versions/")
    bench.azure.recorder.clear()
    assert register() == [(reference, False) for reference, _ in first]
    assert bench.azure.recorder.uploads == []
    assert len(bench.azure.recorder.calls) == 3, "discovery and one look-up for each"
    kept = shared.find_by_id("components", hello)
    assert kept is not None
    spec = kept.properties["componentSpec"]
    assert spec["environment"] == environment
    code = shared.find_by_id("codes", spec["code"])
    assert code is not None
    assert shared.storage.names(shared.locate(code.properties["codeUri"]))
    assert capfd.readouterr() == ("", "")


def test_a_model_is_shared_with_its_tags_and_used_by_a_job(bench: Bench, tmp_path: Path) -> None:
    shared = bench.azure.server.add_registry("shared")
    client = DistillClient(bench.backend())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    for version in ("1", "2"):
        model = client.models.register(str(tmp_path / "model"), "mine")
        uri = client.models.share(model, "shared")
        assert uri == f"azureml://registries/shared/models/mine/versions/{version}"
    (kept,) = (asset for asset in shared.versions("models", "mine") if asset.version == "2")
    assert kept.properties["tags"]["azure_distill"] == "model"
    step = bench.shell("use", "ls '${{inputs.model}}' > '${{outputs.out}}/names'", {"model": DataUri(uri)})
    name = client.backend.submit(plan(step))
    assert bench.azure.wait(name) == "Completed", bench.azure.run(name).error
    assert client.backend.read(name, "use", "out", "names") == b"config.json\n"


def test_an_unknown_registry_is_told(bench: Bench) -> None:
    with pytest.raises(NotFound, match="cannot reach the registry nowhere"):
        Registry("nowhere", bench.azure.credential())


def test_a_model_of_this_machine_goes_into_no_registry(tmp_path: Path) -> None:
    client = DistillClient.local(tmp_path)
    with pytest.raises(ConfigurationError, match="takes models of a workspace"):
        client.models.share("mine:1", "shared")
