"""What stands between a user and a job in Azure, found before the job costs anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azure_distill.cloud.ask import ask_teacher
from azure_distill.cloud.auth import describe_token, make_credential
from azure_distill.cloud.compute import SERVERLESS, compute_warnings
from azure_distill.cloud.failures import translated
from azure_distill.cloud.pipeline import plan_problems
from azure_distill.cloud.quota import examine_quota
from azure_distill.cloud.rest import SCOPE
from azure_distill.cloud.session import Session
from azure_distill.cloud.workspace import Workspace, find_workspace
from azure_distill.errors import ConfigurationError, DistillError, InvalidJob, NotFound, choices
from azure_distill.plan.plan import Plan


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `exit_code` is 0 where it is well, `warning` where it is well for now."""

    subject: str
    told: str
    hint: str | None = None
    exit_code: int = 0
    warning: bool = False

    @property
    def mark(self) -> str:
        return "!! " if self.exit_code else "?  " if self.warning else "ok "

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.exit_code == 0}


def examine(
    flags: Mapping[str, str | None],
    auth: str,
    environ: Mapping[str, str],
    folder: Path,
    plan: Plan | None,
    *,
    ask: bool = False,
) -> Iterator[Finding]:
    """Workspace, identity, reachability, storage, compute; of `plan` also models, quota, connections and what a job in
    Azure cannot do; with `ask` its teacher is asked, with a key of this machine where no workspace is reached.  Ends
    where nothing more can be told.
    """
    asked = plan if ask else None
    if plan:
        yield from _plan(plan)
    try:
        workspace = find_workspace(flags, environ, folder)
    except ConfigurationError as error:
        yield _problem("workspace", error)
        yield from _teacher(asked, None, environ)
        return
    yield Finding("workspace", f"{workspace} ({_sources(workspace)})")
    try:
        session = Session(workspace, make_credential(auth))
        yield from _checks(session, plan)
    except DistillError as error:
        yield _problem("identity", error)
        yield from _teacher(asked, None, environ)
        return
    yield from _teacher(asked, session, environ)


def _teacher(plan: Plan | None, session: Session | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    if plan:
        yield _look("teacher", lambda: ask_teacher(session, plan, environ))


def _plan(plan: Plan) -> Iterator[Finding]:
    """What can be said of a job before Azure is asked anything."""
    for warning in plan.warnings:
        hint = "choose another: `azure-distill models`" if "retire" in warning else None
        yield Finding("models", warning, hint, warning=True)
    for warning in compute_warnings(plan):
        yield Finding("compute", warning, warning=True)
    for problem in plan_problems(plan):
        yield Finding("job", f"{problem.field}: {problem.message}", problem.hint, InvalidJob.exit_code)


def _checks(session: Session, plan: Plan | None) -> Iterator[Finding]:
    with translated("sign in to Azure"):
        token = session.credential.get_token(SCOPE).token
    yield Finding("identity", describe_token(token))
    location = list[str]()
    reached = _look("service", lambda: _service(session, location))
    yield reached
    if reached.exit_code:
        return
    yield _look("storage", lambda: _storage(session))
    yield _look("compute", lambda: _compute(session, plan))
    if plan:
        yield from _quota(session, location[0], plan)
        for name in sorted({name for step in plan.steps for name in step.connections.values()}):
            yield _connection(session, name)


def _look(subject: str, check: Callable[[], str]) -> Finding:
    try:
        with translated(f"ask for the {subject}"):
            return Finding(subject, check())
    except DistillError as error:
        return _problem(subject, error)


def _service(session: Session, location: list[str]) -> str:
    found = str(session.ml.workspaces.get(session.workspace.name).location)
    location.append(found)
    return f"the workspace answers, in {found}"


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


def _quota(session: Session, location: str, plan: Plan) -> Iterator[Finding]:
    try:
        with translated("ask for the quota"):
            for told in examine_quota(session.ml, location, plan):
                yield Finding("quota", told) if isinstance(told, str) else _problem("quota", told)
    except DistillError as error:
        yield _problem("quota", error)


def _connection(session: Session, name: str) -> Finding:
    try:
        with translated(f"ask for the connection {name}"):
            return Finding("connection", f"{name}, for {session.ml.connections.get(name).target}")
    except NotFound:
        hint = "make it: docs/azure.md shows how"
        return Finding("connection", f"the workspace has no connection {name}", hint, NotFound.exit_code)
    except DistillError as error:
        return _problem("connection", error)


def _sources(workspace: Workspace) -> str:
    names = {"name": "name", "resource_group": "resource group", "subscription": "subscription"}
    if len(set(workspace.sources.values())) == 1:
        return f"from {workspace.sources['name']}"
    return ", ".join(f"{names[part]} from {source}" for part, source in workspace.sources.items())


def _problem(subject: str, error: DistillError) -> Finding:
    return Finding(subject, str(error), error.hint, error.exit_code)
