"""What a verb imports: the client stays thin."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from azure_distill.cli.main import VERBS

SHOW_MODULES = """
import json, sys
sys.argv = ["azure-distill", *json.loads(sys.argv[1])]
from azure_distill.cli.main import main
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, json.dumps(arguments)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["code"] == 0, done.stderr
    return set(told["modules"])


def test_help_imports_next_to_nothing() -> None:
    heavy = {"pydantic", "rich", "azure", "torch", "yaml", "psutil", "requests", "numpy", "transformers"}
    assert not modules_after("--help") & heavy


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_nothing_heavy(verb: str) -> None:
    assert not modules_after(verb, "--help") & {"pydantic", "azure", "torch", "yaml", "numpy"}


def test_watching_a_run_here_imports_no_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}')
    monkeypatch.chdir(tmp_path)
    assert not modules_after("list") & {"azure", "pydantic"}


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_validate_and_plan_import_neither_torch_nor_azure(verb: str, tmp_path: Path) -> None:
    modules_after("init", "--task", "nli", str(tmp_path / "job"))
    loaded = modules_after(verb, str(tmp_path / "job" / "job.yaml"))
    assert "pydantic" in loaded
    assert not loaded & {"torch", "azure", "transformers", "numpy", "aiohttp"}
