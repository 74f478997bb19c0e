"""Pydantic's errors in the project's words: file, line, field, what is wrong, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from azure_distill.errors import Problem, near
from azure_distill.spec.yaml_source import Place, Source

# What a user meets most; anything else is shown in pydantic's words.
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "too_short": "is empty",
    "model_type": "must be a mapping",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}
_PATTERNS = {
    "api_key_env": "must be the NAME of an environment variable that holds the key, not the key itself",
    "endpoint": "must be a http(s) URL without user or password",
    "name": "may hold letters, digits, - and _ only",
    "key_vault": "must be the address of a secret, https://VAULT.vault.azure.net/secrets/NAME",
    "answers": "must be a folder of a datastore, azureml://datastores/NAME/paths/FOLDER",
}
_SECRET_KEYS = re.compile(r"(?i)^(api_?key|key|token|password|secret|access_?key|credentials?)$")
# texts that are nothing but what a key looks like; and keys that tell what they are, anywhere in a text
_SECRET_VALUES = re.compile(
    r"^(sk-[\w-]{16,}|ghp_\w{20,}|hf_\w{20,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|[0-9a-f]{32}"
    r"|(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9+]{40,96}={0,2})$"
)
_SECRETS_WITHIN = re.compile(
    r"\b(sk-([a-z0-9]+-)*\w{16,}|ghp_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.)"
    r"|(?i:[?&;](sig|key|api[-_]?key|subscription-key|code|token|accountkey|sharedaccesskey)=[\w%+/.~-]{16,})"
)


def to_problems(error: ValidationError, model: type[BaseModel], source: Source | None) -> list[Problem]:
    """One Problem for each of pydantic's errors, in the order of the file."""
    problems = [_problem(dict(item), model, source) for item in error.errors(include_url=False)]
    return sorted(problems, key=lambda problem: problem.line or 0)


def literal_secrets(value: Any, source: Source | None, place: Place = ()) -> list[Problem]:
    """Values that look like secrets, wherever they stand; the value itself is never repeated."""
    if isinstance(value, dict):
        return [p for key, inner in value.items() for p in literal_secrets(inner, source, (*place, key))]
    if isinstance(value, list):
        return [p for index, inner in enumerate(value) for p in literal_secrets(inner, source, (*place, index))]
    if isinstance(value, str) and (_SECRET_VALUES.match(value) or _SECRETS_WITHIN.search(value)):
        return [locate(source, place, "holds what looks like a secret", hint="name where it lives: api_key_env")]
    return []


def locate(source: Source | None, place: Place, message: str, hint: str | None = None) -> Problem:
    """A problem at a place of the job, with file and line where the job came from a file."""
    return Problem(
        message,
        file=source.file if source else None,
        line=source.line(place) if source else None,
        field=".".join(map(str, place)) or None,
        hint=hint,
    )


def relocate(problems: Iterable[Problem], source: Source | None) -> list[Problem]:
    """The problems with file and line, for those that only name a field of the job."""
    return [
        locate(source, tuple(problem.field.split(".")), problem.message, problem.hint)
        if source and problem.field and problem.file is None
        else problem
        for problem in problems
    ]


def place_of(location: Place) -> Place:
    """The place in the job of one of pydantic's errors: its tags of unions and keys are no places."""
    return tuple(part for part in location if not str(part).startswith("["))


def _problem(item: dict[str, Any], model: type[BaseModel], source: Source | None) -> Problem:
    place = place_of(item["loc"])
    kind, context = item["type"], item.get("ctx", {})
    hint = None
    if kind == "extra_forbidden":
        if _SECRET_KEYS.match(str(place[-1])):
            return locate(source, place, "a job file holds no secrets", hint="name where it lives: api_key_env: NAME")
        known = _fields(model, place[:-1])
        hint = near(str(place[-1]), known) or f"known: {', '.join(sorted(known))}"
    if kind == "string_type" and isinstance(item.get("input"), bool | int | float):
        hint = "put it in quotes"  # YAML takes yes and 12 for what they look like
    if kind == "literal_error" and isinstance(item.get("input"), str):
        hint = near(item["input"], re.findall(r"'([^']*)'", context.get("expected", "")))
    if kind == "string_pattern_mismatch":
        message = _PATTERNS.get(str(place[-1]), f"must match {context.get('pattern')}")
    else:
        message = _MESSAGES.get(kind, item["msg"]).format(**context)
    return locate(source, place, message, hint)


def _fields(model: type[BaseModel], place: Place) -> set[str]:
    """The keys that are known at a place of the job."""
    current: Any = model
    for part in place:
        field = current.model_fields.get(part) if _is_model(current) else None
        current = _model_in(field.annotation if field else None) or current
    return set(current.model_fields) if _is_model(current) else set()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if _is_model(annotation):
        return annotation  # type: ignore[no-any-return]
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
