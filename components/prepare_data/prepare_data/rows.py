"""From a user's row, in whatever form, to a checked conversation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from prepare_data.settings import Columns, closest, did_you_mean
from prepare_data.strict import BadJson, parse
from shared.errors import InvalidInput, Problem
from shared.rows import Message, Row, split_answer
from shared.tasks import Task

ROLES = ("system", "user", "assistant")
TAKEN = ("id", "messages", "label_logprobs", "token_logprobs", "rationale", "agreement")


def to_row(value: Any, columns: Columns, task: Task) -> Row:
    """The row that `value` describes, with an empty id where the user gave none.

    Raises InvalidInput with every problem of the row (field and message, no file and line).
    """
    if not isinstance(value, dict):
        raise InvalidInput("is not a JSON object")
    flat = columns.flat()
    if flat and (flat["prompt"] in value or columns.messages not in value):
        messages, used = _flat_messages(value, columns)
    else:
        messages, used = _messages(value, columns), {columns.messages}
    prompt, reference = split_answer(messages)
    extra = {name: item for name, item in value.items() if name not in used and name != columns.id}
    problems = [*_id_problems(value.get(columns.id), columns.id), *_reserved(extra, reference)]
    problems += [Problem(message, field="messages") for message in task.check(prompt, reference)]
    if problems:
        raise InvalidInput(*problems)
    for name in ("reference", *TAKEN):
        extra.pop(name, None)
    return Row(str(value.get(columns.id) or ""), prompt, reference, reference, extra=extra)


def _messages(value: dict[str, Any], columns: Columns) -> list[Message]:
    name = columns.messages
    if name not in value:
        close = closest(name, list(value))
        hint = f"rename {close!r}" if close else "flat fields are named in data.columns"
        raise InvalidInput(Problem("is missing", field=name, hint=hint))
    messages = value[name]
    if isinstance(messages, str):  # a cell of a CSV file
        try:
            messages = parse(messages)
        except BadJson as error:
            raise InvalidInput(replace(error.problem, field=error.problem.field or name)) from None
    problems = list(message_problems(messages, name))
    if problems:
        raise InvalidInput(*problems)
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def message_problems(messages: Any, name: str) -> Iterator[Problem]:
    """What is wrong with the shape of a conversation: an optional system message, then user and assistant in turn."""
    if not isinstance(messages, list):
        yield Problem(f"must be a list of messages, not {_kind(messages)}", field=name)
        return
    expected = "user"
    for place, message in enumerate(messages):
        where = f"{name}[{place}]"
        if not isinstance(message, dict):
            yield Problem(f"must be an object, not {_kind(message)}", field=where)
            continue
        yield from _key_problems(message, where)
        role = message.get("role")
        if "role" in message and role not in ROLES:
            hint = did_you_mean(role, ROLES) if isinstance(role, str) else None
            yield Problem("must be system, user or assistant", field=f"{where}.role", hint=hint)
        elif role == "system" and place > 0:
            yield Problem("a system message can only stand first", field=f"{where}.role")
        elif role in ("user", "assistant"):
            if role != expected:
                yield Problem(f"must be {expected}, user and assistant take turns", field=f"{where}.role")
            expected = "assistant" if role == "user" else "user"
        if "content" in message:
            yield from _content_problems(message["content"], f"{where}.content")
    if all(isinstance(message, dict) and message.get("role") == "system" for message in messages):
        yield Problem("has no user message", field=name)


def _key_problems(message: dict[str, Any], where: str) -> Iterator[Problem]:
    others = [key for key in message if key not in ("role", "content")]
    for key in ("role", "content"):
        if key not in message:
            close = closest(key, others)
            if close in others:
                others.remove(close)
            yield Problem("is missing", field=f"{where}.{key}", hint=close and f"rename {close!r}")
    for key in others:
        if message[key] is not None:  # a table has every column in every row
            yield Problem("a message has only role and content", field=f"{where}.{key[:40]}")


def _content_problems(content: Any, where: str) -> Iterator[Problem]:
    if not isinstance(content, str):
        hint = "join the parts to one text" if isinstance(content, list) else None
        yield Problem(f"must be a text, not {_kind(content)}", field=where, hint=hint)
    elif not content.strip():
        yield Problem("is empty", field=where)


def _flat_messages(value: dict[str, Any], columns: Columns) -> tuple[list[Message], set[str]]:
    flat = columns.flat()
    texts: dict[str, str] = {}
    problems = []
    for part, column in flat.items():
        cell = value.get(column)
        if isinstance(cell, int) and not isinstance(cell, bool):
            cell = str(cell)
        if cell is not None and not isinstance(cell, str):
            problems.append(Problem(f"must be a text, not {_kind(cell)}", field=column))
        elif cell is not None and cell.strip():
            texts[part] = cell
        elif part == "prompt":
            close = None if column in value else closest(column, list(value))
            message = "is empty" if column in value else "is missing"
            problems.append(Problem(message, field=column, hint=close and f"there is {close!r}"))
    if problems:
        raise InvalidInput(*problems)
    roles = {"system": "system", "prompt": "user", "answer": "assistant"}
    messages: list[Message] = [{"role": role, "content": texts[part]} for part, role in roles.items() if part in texts]
    return messages, set(flat.values())


def _id_problems(name: Any, column: str) -> Iterator[Problem]:
    if name is not None and not isinstance(name, str):
        yield Problem(f"must be a text, not {_kind(name)}", field=column)


def _reserved(extra: dict[str, Any], reference: str | None) -> Iterator[Problem]:
    """Fields that have a meaning in prepared rows: a reference must agree with the conversation, others cannot stay."""
    if extra.get("reference") not in (None, reference):
        hint = "the reference answer is the last assistant message"
        yield Problem("differs from the last assistant message", field="reference", hint=hint)
    for name in TAKEN:
        if extra.get(name) is not None:
            yield Problem("is a field that prepared rows use themselves", field=name, hint="rename it")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
