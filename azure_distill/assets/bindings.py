"""The placeholders of a component's command, as Azure ML reads them.

    ${{inputs.NAME}}  ${{outputs.NAME}}   replaced by the value or path
    $[[ … ]]                              left out when an optional input inside is unset

Everything else stands as it is.  Azure quotes nothing, so a template puts every text and path between single quotes,
and a value that holds a single quote itself is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from azure_distill.assets.component import NUMBERS, Component
from azure_distill.errors import InvalidJob, Problem, choices

Value = str | int | float | bool
NAMESPACES = ("inputs", "outputs")


@dataclass(frozen=True)
class Text:
    """Part of a command that stands for itself."""

    text: str


@dataclass(frozen=True)
class Reference:
    """A placeholder; `quoted` says whether it stands between single quotes."""

    namespace: str
    name: str
    quoted: bool


@dataclass(frozen=True)
class Block:
    """A `$[[ … ]]` block."""

    parts: tuple[Text | Reference, ...]

    def names(self) -> set[str]:
        return {part.name for part in self.parts if isinstance(part, Reference) and part.namespace == "inputs"}


Part = Text | Reference | Block


class CommandError(ValueError):
    """A command whose placeholders cannot be read."""


def tokenize(command: str) -> list[Part]:
    """The parts of a command; raises CommandError where a placeholder or block is malformed."""
    return list(_parts(command, 0, len(command), _Quotes()))


def render(command: str, inputs: Mapping[str, Value | None], outputs: Mapping[str, str]) -> str:
    """The command with every placeholder replaced; `inputs` names every declared input, None where it is unset.

    Raises InvalidJob for unknown and unset references and for values with a single quote: all of them at once.
    """
    try:
        parts = tokenize(command)
    except CommandError as error:
        raise InvalidJob([Problem(str(error), field="command")]) from None
    problems = list[Problem]()
    words = list[str]()

    def put(part: Text | Reference) -> None:
        if isinstance(part, Text):
            words.append(part.text)
            return
        values: Mapping[str, Value | None] = inputs if part.namespace == "inputs" else outputs
        value = values.get(part.name)
        if value is None:
            problems.append(_unresolved(part, values))
        elif problem := unsafe(value):
            problems.append(Problem(problem, field=part.name))
        else:
            words.append(text(value))

    for part in parts:
        if isinstance(part, Block):
            if all(name not in inputs or inputs[name] is not None for name in part.names()):
                for inner in part.parts:
                    put(inner)
        else:
            put(part)
    if problems:
        raise InvalidJob(problems)
    return "".join(words)


def text(value: Value) -> str:
    """A literal as it stands in a command: booleans are `True` and `False`, as the Azure SDK sends them."""
    return value if isinstance(value, str) else repr(value)


def unsafe(value: Value) -> str | None:
    """Why a value cannot stand between single quotes, if it cannot."""
    if isinstance(value, str) and "'" in value:
        return "holds a single quote, which would end the quotes around it in the command"
    if isinstance(value, str) and "\0" in value:
        return "holds a NUL character"
    return None


def check(component: Component) -> list[Problem]:
    """What is wrong with a component's command: it would fail, or not mean what it seems to."""
    try:
        parts = tokenize(component.command)
    except CommandError as error:
        messages = [str(error)]
    else:
        messages = [
            *_reference_problems(component, parts),
            *_quote_problems(component, parts),
            *_unused(component, parts),
        ]
        messages += _shell_problems(parts)
    messages += [
        f"optional input {name} has a default, so it is never unset"
        for name, port in component.inputs.items()
        if port.optional and port.default is not None
    ]
    return [Problem(message, str(component.path), component.line, "command") for message in messages]


def _reference_problems(component: Component, parts: list[Part]) -> Iterator[str]:
    optional = {name for name, port in component.inputs.items() if port.optional}
    for part in parts:
        for reference in _references([part]):
            ports = component.inputs if reference.namespace == "inputs" else component.outputs
            if reference.name not in ports:
                yield f"unknown {reference.namespace}.{reference.name}: {choices(reference.name, ports)}"
            elif isinstance(part, Reference) and reference.namespace == "inputs" and reference.name in optional:
                yield f"optional input {reference.name} stands outside of $[[ ]]"
        if isinstance(part, Block) and not part.names() & optional:
            yield "a $[[ ]] block without an optional input is never left out"


def _quote_problems(component: Component, parts: list[Part]) -> Iterator[str]:
    for reference in _references(parts):
        port = component.inputs.get(reference.name) if reference.namespace == "inputs" else None
        if not reference.quoted and (port is None or port.type not in NUMBERS):
            yield f"{reference.namespace}.{reference.name} must stand between single quotes"


def _unused(component: Component, parts: list[Part]) -> Iterator[str]:
    used = {(reference.namespace, reference.name) for reference in _references(parts)}
    declared = [("inputs", name) for name in component.inputs] + [("outputs", name) for name in component.outputs]
    for namespace, name in declared:
        if (namespace, name) not in used:
            yield f"{namespace}.{name} is declared but not used"


def _shell_problems(parts: list[Part]) -> Iterator[str]:
    """bash answers with the last command's exit code, so an earlier failure would pass for success."""
    quotes = _Quotes()
    bare = "".join(c for part in _flat(parts) for c in (part.text if isinstance(part, Text) else "x") if quotes.bare(c))
    if "\n" in bare.strip() or ";" in bare:
        yield "several commands hide a failure of all but the last: join them with &&"
    if "|" in bare.replace("||", "") and "pipefail" not in bare:
        yield "a pipe hides failures without `set -o pipefail &&`"


def _flat(parts: Iterable[Part]) -> Iterator[Text | Reference]:
    for part in parts:
        if isinstance(part, Block):
            yield from part.parts
        else:
            yield part


def _references(parts: Iterable[Part]) -> Iterator[Reference]:
    return (part for part in _flat(parts) if isinstance(part, Reference))


def _unresolved(reference: Reference, values: Mapping[str, Value | None]) -> Problem:
    name = f"{reference.namespace}.{reference.name}"
    if reference.name in values:
        return Problem(f"{name} has no value", field="command", hint="give it one, or put it into $[[ ]]")
    return Problem(f"unknown {name}", field="command", hint=choices(reference.name, values))


class _Quotes:
    """Follows bash's quotes through a text, well enough to know whether a placeholder is single-quoted."""

    def __init__(self) -> None:
        self.open = ""

    def bare(self, character: str) -> bool:
        """Take one character; True when it stands outside of all quotes."""
        if self.open:
            if character == self.open:
                self.open = ""
            return False
        if character in "'\"":
            self.open = character
            return False
        return True

    def read(self, text: str) -> None:
        for character in text:
            self.bare(character)


def _parts(command: str, start: int, end: int, quotes: _Quotes) -> Iterator[Part]:
    position = start
    while position < end:
        found = min(
            (at for at in (command.find(mark, position, end) for mark in ("${{", "$[[")) if at >= 0), default=end
        )
        if found > position:
            quotes.read(command[position:found])
            yield Text(command[position:found])
        if found == end:
            return
        opened = command[found : found + 3]
        close = "}}" if opened == "${{" else "]]"
        closed = command.find(close, found + 3, end)
        if closed < 0:
            raise CommandError(f"no closing {close} for {command[found : found + 30]!r}")
        if opened == "${{":
            yield _reference(command[found + 3 : closed], quotes)
        else:
            yield _optional(command, found + 3, closed, quotes)
        position = closed + 2


def _reference(inside: str, quotes: _Quotes) -> Reference:
    namespace, _, name = inside.strip().partition(".")
    if namespace not in NAMESPACES or not name.isidentifier() or not name.isascii():
        raise CommandError(f"${{{{{inside}}}}} is neither inputs.NAME nor outputs.NAME")
    return Reference(namespace, name, quotes.open == "'")


def _optional(command: str, start: int, end: int, quotes: _Quotes) -> Block:
    if "$[[" in command[start:end]:
        raise CommandError("a $[[ ]] block inside another")
    inner = list[Text | Reference]()
    for part in _parts(command, start, end, quotes):
        assert not isinstance(part, Block)
        inner.append(part)
    return Block(tuple(inner))
