"""What stands between a user and a job in Azure, found before the job costs anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azure_distill.cloud.auth import MANAGEMENT, describe_token, make_credential
from azure_distill.cloud.compute import SERVERLESS
from azure_distill.cloud.failures import translated
from azure_distill.cloud.session import Session
from azure_distill.cloud.workspace import Workspace, find_workspace
from azure_distill.errors import ConfigurationError, DistillError, NotFound, choices
from azure_distill.plan.plan import Plan


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `exit_code` is 0 where it is well."""

    subject: str
    told: str
    hint: str | None = None
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.exit_code == 0}


def examine(
    flags: Mapping[str, str | None], auth: str, environ: Mapping[str, str], folder: Path, plan: Plan | None
) -> Iterator[Finding]:
    """Workspace, identity, reachability, compute; of `plan` also that its clusters exist.  Ends where nothing more
    can be told.
    """
    try:
        workspace = find_workspace(flags, environ, folder)
    except ConfigurationError as error:
        yield _problem("workspace", error)
        return
    yield Finding("workspace", f"{workspace} ({_sources(workspace)})")
    try:
        session = Session(workspace, make_credential(auth))
        yield from _checks(session, plan)
    except DistillError as error:
        yield _problem("identity", error)


def _checks(session: Session, plan: Plan | None) -> Iterator[Finding]:
    with translated("sign in to Azure"):
        token = session.credential.get_token(MANAGEMENT).token
    yield Finding("identity", describe_token(token))
    reached = _look("service", lambda: _service(session))
    yield reached
    if reached.exit_code == 0:
        yield _look("storage", lambda: _storage(session))
        yield _look("compute", lambda: _compute(session, plan))


def _look(subject: str, check: Callable[[], str]) -> Finding:
    try:
        with translated(f"ask for the {subject}"):
            return Finding(subject, check())
    except DistillError as error:
        return _problem(subject, error)


def _service(session: Session) -> str:
    return f"the workspace answers, in {session.ml.workspaces.get(session.workspace.name).location}"


def _storage(session: Session) -> str:
    store = session.ml.datastores.get("workspaceblobstore")
    return f"{store.name} in the account {getattr(store, 'account_name', '?')}"


def _compute(session: Session, plan: Plan | None) -> str:
    there = {str(compute.name): getattr(compute, "size", None) for compute in session.ml.compute.list()}
    wanted = {str(step.resources.get("compute", SERVERLESS)) for step in plan.steps} if plan else set[str]()
    for name in sorted(wanted - {SERVERLESS}):
        if name not in there:
            raise NotFound(f"the job names the cluster {name}, which the workspace does not have", choices(name, there))
    clusters = ", ".join(f"{name} ({size})" if size else name for name, size in sorted(there.items()))
    return f"serverless{', ' if clusters else ''}{clusters}"


def _sources(workspace: Workspace) -> str:
    names = {"name": "name", "resource_group": "resource group", "subscription": "subscription"}
    return ", ".join(f"{names[part]} from {source}" for part, source in workspace.sources.items())


def _problem(subject: str, error: DistillError) -> Finding:
    return Finding(subject, str(error), error.hint, error.exit_code)
