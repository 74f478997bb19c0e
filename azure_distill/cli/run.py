"""The verb `run`: a job, on this machine, to its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from azure_distill.cli.options import json_option, max_cost_option

if TYPE_CHECKING:
    from azure_distill.backend import Run
    from azure_distill.client import DistillClient
    from azure_distill.plan.plan import Plan

EVERY_STEP = "*"  # as the backend writes it


@click.command("run")
@click.argument("job", required=False, type=click.Path())
@click.option("--until", metavar="STEP", help="Stop after this step.")
@click.option("--force", metavar="[STEP]", is_flag=False, flag_value=EVERY_STEP, help="Ignore the cache, of STEP only.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Steps to run at the same time.")
@max_cost_option
@json_option
def run_command(
    job: str | None, until: str | None, force: str | None, jobs: int, max_cost: float | None, as_json: bool
) -> None:
    """Run JOB on this machine.  Steps whose inputs have not changed are taken from the cache."""
    from azure_distill.client import DistillClient
    from azure_distill.local.backend import LocalBackend
    from azure_distill.spec.job import DistillationJob

    if job is None and force not in (None, EVERY_STEP):
        job, force = force, EVERY_STEP  # `--force JOB`: the option has taken the argument
    if job is None:
        raise click.UsageError("Missing argument 'JOB'.")
    backend = LocalBackend(jobs=jobs)
    client = DistillClient(backend)
    plan = client.jobs.plan(DistillationJob.from_file(job).capped(max_cost))
    names = [step.name for step in plan.steps]
    for option, step in (("--until", until), ("--force", force)):
        if step not in (None, EVERY_STEP, *names):
            raise click.BadParameter(f"no step {step!r}; steps: {', '.join(names)}", param_hint=option)
    if until:
        plan = plan.until(until)
    backend.force = frozenset([force] if force else [])
    run_plan(client, plan, as_json)


def run_plan(client: DistillClient, plan: Plan, as_json: bool) -> None:
    """Run a plan to its end, show it, and leave with the exit code of its outcome."""
    from azure_distill.cli.follow import follow

    with interrupts():
        name = None
        try:
            started = client.jobs.create_or_update(plan)
            name = started.name
            for warning in started.warnings:
                click.echo(f"warning: {warning}", err=True)
            click.echo(f"run {name}", err=True)
            run = follow(client.backend, name)
        except Interrupted as interrupt:
            if name is None:
                raise click.exceptions.Exit(interrupt.exit_code) from None
            click.echo("stopping the run … (what is finished is kept)", err=True)
            client.jobs.cancel(name)
            run = client.jobs.get(name)
            finish(run, as_json, interrupt.exit_code)
    finish(run, as_json)


class Interrupted(BaseException):
    """A signal that asks the command to stop."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum


@contextmanager
def interrupts() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into Interrupted, once; a second one does not break the orderly stop."""

    def stop(signum: int, frame: Any) -> None:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)
        raise Interrupted(signum)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def finish(run: Run, as_json: bool, exit_code: int | None = None) -> None:
    """Print a run's outcome; raises Exit with the code of the outcome."""
    from azure_distill.cli.figures import comparison, tell, verdict
    from azure_distill.cli.render import console, print_error, print_json, short_path
    from azure_distill.client import failed_checks, gate_passed
    from azure_distill.errors import JobFailed

    code = exit_code if exit_code is not None else outcome(run)
    gated = not code and not gate_passed(run)
    if gated:
        code = JobFailed.exit_code
    if as_json:
        print_json(run.to_json())
        raise click.exceptions.Exit(code)
    if run.metrics:
        screen = console()
        screen.print()
        screen.print(comparison(run.metrics, screen))
        for line in verdict(run.metrics):
            tell(line, screen)
    report = run.outputs.get("evaluation", {}).get("report")
    if report and run.backend == "local":
        click.echo(f"\nreport: {short_path(report)}/report.html")
    elif report:
        click.echo(f"\nreport: azure-distill report {run.name}")
    elif not code:
        click.echo(f"run {run.name} completed: {short_path(run.location)}")
    if run.error:
        print_error(run.error)
    if gated:
        click.echo(f"run {run.name} is done, but its gate did not pass: {failed_checks(run)}", err=True)
    elif code:
        click.echo(f"run {run.name} ended {run.status}; logs: azure-distill logs {run.name}", err=True)
    raise click.exceptions.Exit(code)


def outcome(run: Run) -> int:
    """The exit code that a run's status stands for."""
    from azure_distill.backend import CANCELED, COMPLETED
    from azure_distill.errors import JobCanceled, JobFailed

    if run.status == COMPLETED:
        return 0
    if run.status == CANCELED:
        return JobCanceled.exit_code
    return run.exit_code or JobFailed.exit_code
