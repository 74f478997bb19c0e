"""What keeps a plan from running on this machine; and what of it this machine does not care about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from azure_distill.assets.bindings import render
from azure_distill.assets.component import FOLDERS, Port
from azure_distill.errors import ConfigurationError, InvalidJob, Problem, choices
from azure_distill.local.paths import RESERVED_KEPT, RESERVED_OUTPUTS, Home
from azure_distill.local.step import bind
from azure_distill.plan.plan import Binding, DataPath, DataUri, Literal, Plan, Step, StepOutput
from azure_distill.plan.variables import KEY_VARIABLE

LONGEST_COMMAND = 120_000  # bytes; Linux takes 128 KiB in one argument
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def check_plan(plan: Plan, home: Home) -> None:
    """Raises InvalidJob with everything that would keep the plan from running here."""
    problems = list(_plan_problems(plan))
    for step in plan.steps:
        found = list(_step_problems(step, plan))
        problems += found or _command_problems(step, home)
    if problems:
        raise InvalidJob(problems)


def ignored(plan: Plan) -> list[str]:
    """What the plan says that only matters in the cloud, one line for all of it."""
    found = [f"{step.name}.{key}" for step in plan.steps for key in (*step.resources, *step.kept)]
    return [f"ignored on this machine: {', '.join(found)}"] if found else []


def require_secrets(plan: Plan, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError when a secret that the plan names is not in the environment."""
    for name in sorted({secret for step in plan.steps for secret in step.secrets}):
        if not environ.get(name):
            hint = "set it, or name another one: teacher_model.api_key_env"
            if name == KEY_VARIABLE:
                hint = "set it, or name where the key lives: teacher_model.api_key_env, or auth: none"
            raise ConfigurationError(f"the teacher's key is wanted in the environment variable {name}: not set", hint)


def _plan_problems(plan: Plan) -> Iterator[Problem]:
    names = [step.name for step in plan.steps]
    if not names:
        yield Problem("the plan has no steps")
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem("two steps have this name", field=name)
    for name in names:
        if not NAME.fullmatch(name):
            yield Problem("is no step name: letters, digits, _ and - only", field=name)
    try:
        TopologicalSorter({step.name: step.needs for step in plan.steps}).prepare()
    except CycleError as error:
        yield Problem(f"steps need each other: {' -> '.join(error.args[1])}")


def _step_problems(step: Step, plan: Plan) -> Iterator[Problem]:
    ports = step.component.inputs
    for name, binding in step.inputs.items():
        if name not in ports:
            yield Problem("is no input of the component", field=f"{step.name}.{name}", hint=choices(name, ports))
        elif problem := _binding_problem(ports[name], binding, plan):
            yield Problem(problem, field=f"{step.name}.{name}")
    for name, port in ports.items():
        if name not in step.inputs and not port.optional and port.default is None:
            yield Problem("needs a value", field=f"{step.name}.{name}")
    kept = step.component.kept_outputs
    for name in step.component.outputs:
        if name in (RESERVED_KEPT if name in kept else RESERVED_OUTPUTS):
            yield Problem("is a reserved name for an output", field=f"{step.name}.{name}")


def _binding_problem(port: Port, binding: Binding, plan: Plan) -> str | None:
    if isinstance(binding, Literal):
        return f"is a value, not {port.type}" if port.is_data else port.problem(binding.value)
    if not port.is_data:
        return f"is data, not {port.type}"
    match binding:
        case DataUri(uri):
            return f"{uri} can only be reached from Azure; give a path on this machine"
        case DataPath(path):
            return _path_problem(port, path)
        case StepOutput(name, output):
            return _edge_problem(port, name, output, plan)
    return None


def _path_problem(port: Port, path: Path) -> str | None:
    if not path.exists():
        return f"{path} does not exist"
    if port.type in FOLDERS and not path.is_dir():
        return f"{path} is not a folder"
    if port.type == "uri_file" and not path.is_file():
        return f"{path} is not a file"
    return None


def _edge_problem(port: Port, name: str, output: str, plan: Plan) -> str | None:
    steps = {step.name: step for step in plan.steps}
    if name not in steps:
        return f"reads from step {name}, which the plan does not have"
    outputs = steps[name].component.outputs
    if output not in outputs:
        return f"reads {name}.{output}; {choices(output, outputs)}"
    if output in steps[name].component.kept_outputs:
        return f"reads {name}.{output}, which is kept outside of runs and cannot be passed on"
    if (outputs[output].type in FOLDERS) != (port.type in FOLDERS):
        return f"reads {name}.{output}, which is {outputs[output].type}, not {port.type}"
    return None


def _command_problems(step: Step, home: Home) -> list[Problem]:
    bound = bind(step, home, home.run("run"))
    try:
        command = render(
            step.component.command, bound.values, {name: str(path) for name, path in bound.outputs.items()}
        )
    except InvalidJob as error:
        return [Problem(p.message, p.file, p.line, f"{step.name}.{p.field}", p.hint) for p in error.problems]
    if (size := len(command.encode("utf-8", "surrogateescape"))) > LONGEST_COMMAND:
        message = f"its command has {size} bytes; {LONGEST_COMMAND} are allowed"
        return [Problem(message, field=step.name, hint="shorten its longest input")]
    return []
