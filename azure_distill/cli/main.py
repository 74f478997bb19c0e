"""The command line.  A static table of verbs, so that `--help` imports no verb and nothing heavy."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

VERBS = {
    "init": ("create", "Write a job file and sample data that work as they stand."),
    "validate": ("create", "Check a job file and its data; list every problem at once."),
    "plan": ("plan", "Show the steps that a job would run."),
    "run": ("run", "Run a job on this machine."),
    "submit": ("submit", "Submit a job to Azure Machine Learning."),
    "status": ("monitor", "Show where a run stands."),
    "watch": ("monitor", "Follow a run until it ends."),
    "logs": ("monitor", "Show a step's log."),
    "list": ("monitor", "List the newest runs."),
    "cancel": ("monitor", "Stop a run."),
    "download": ("outputs", "Copy a run's outputs into a folder."),
    "report": ("outputs", "Show a run's report and compare its models."),
    "evaluate": ("models", "Evaluate one model on a file of rows with answers."),
    "register": ("models", "Register a run's student, or a model folder, under a name."),
    "components": ("components", "Register components and environments in Azure Machine Learning."),
    "doctor": ("doctor", "Check identity, workspace, compute and models before a job costs anything."),
    "models": ("models", "List known teachers and students, and registered models."),
}


REPORT_IT = "set AZURE_DISTILL_TRACEBACK=1 to see where, and please report it"


class LazyGroup(click.Group):
    """A group that imports a verb's module when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"azure_distill.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], VERBS, n=1)
            ctx.fail(f"no verb {args[0]!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="azure-distill")
def cli() -> None:
    """Distil a large language model into a small one: one small job file, here or on Azure ML.

    Exit codes: 0 completed, 2 usage, 3 invalid job or data, 4 authentication or configuration, 5 not found,
    10 job failed, 11 canceled, 12 timed out waiting, 13 service unavailable, 130 interrupted, 1 internal error.
    """


def main() -> None:
    """Run the command line; every error of the project becomes one to three lines and its exit code.

    With `--json` it becomes a JSON value, too, so that there is exactly one on standard output whatever happens.
    """
    gc.set_threshold(50_000, 20, 100)  # what a verb imports lives to its end: 280,000 objects of Azure's SDK
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        _leave(130, "interrupted")
    except click.ClickException as error:
        error.show()
        _leave(error.exit_code, error.format_message())
    except BrokenPipeError:
        # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("AZURE_DISTILL_TRACEBACK") == "1":
            raise
        _report(error)


def _report(error: Exception) -> NoReturn:
    """Print an error as a person wants it, and leave with its exit code."""
    from azure_distill.errors import DistillError, InvalidJob

    if isinstance(error, InvalidJob):
        from azure_distill.cli.render import print_problems

        print_problems(error.problems)
        _leave(error.exit_code, str(error), problems=[problem.to_json() for problem in error.problems])
    code = 1
    hint: str | None = None
    if isinstance(error, DistillError):
        code, message, hint = error.exit_code, str(error), error.hint
    elif isinstance(error, OSError) and error.strerror:
        message = f"{error.strerror}: {error.filename or ''}".rstrip(": ")
    else:
        message, hint = f"internal error: {type(error).__name__}: {error}", REPORT_IT
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    _leave(code, message, hint)


def _leave(code: int, message: str, hint: str | None = None, problems: Sequence[Mapping[str, Any]] = ()) -> NoReturn:
    """End with an exit code; the error has been told to the person, here a program is told."""
    if "--json" in sys.argv:
        from azure_distill.cli.render import print_json

        print_json({"error": message, "hint": hint, "problems": list(problems), "exit_code": code})
    sys.exit(code)
