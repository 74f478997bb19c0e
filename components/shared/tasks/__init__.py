"""The six kinds of task, by name."""

from __future__ import annotations

from dataclasses import fields

from shared.errors import InvalidInput, Problem, load_json
from shared.tasks.base import Extracted, LabelTask, Rejected, Settings, Task
from shared.tasks.labels import Classification, Nli, NluQa
from shared.tasks.text import Conversation, Math, Summarization

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Nli, Conversation, NluQa, Math, Summarization, Classification)
}

__all__ = ["TASKS", "Extracted", "LabelTask", "Rejected", "Settings", "Task", "load_task"]


def load_task(text: str) -> Task:
    """The task of a component's `--task` argument: JSON with `type` and the fields of `Settings`."""
    value = load_json(text, "task")
    name = value.pop("type", None)
    if name not in TASKS:
        raise InvalidInput(Problem(f"{name!r} is none of {', '.join(TASKS)}", field="task.type"))
    unknown = value.keys() - {field.name for field in fields(Settings)}
    if unknown:
        raise InvalidInput(Problem(f"unknown settings: {', '.join(sorted(unknown))}", field="task"))
    labels = value.pop("labels", ())
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        raise InvalidInput(Problem("must be a list of texts", field="task.labels"))
    return TASKS[str(name)](Settings(labels=tuple(labels), **value))  # type: ignore[arg-type]
