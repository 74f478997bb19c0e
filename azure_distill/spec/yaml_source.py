"""YAML with line numbers: every value's place in the file, and what is wrong with the text itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from azure_distill.errors import InvalidJob, Problem

Place = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `2e-5` as a number and a date as a text, as YAML 1.2 and every user do."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: str(node.value))
TEXT = "tag:yaml.org,2002:str"


@dataclass
class Source:
    """A parsed YAML file: `value`, and the line of each key and list item by its place in `value`.

    `problems` are keys that cannot count: a key's second value, and what is no plain word.  They are not in `value`.
    """

    file: str
    value: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """The line of `place`, or of the nearest thing around it that stands in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


def read_yaml(path: Path, shown: str | None = None) -> Source:
    """Parse a mapping; raises InvalidJob with file and line for anything that is not one, but not for its problems."""
    source = Source(shown or str(path))
    text = _read_text(path, source.file)
    try:
        _parse(text, source)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"holds a control character (#x{int(error.character):04x})"
        raise InvalidJob([Problem(message, source.file, line)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "is not YAML"
        raise InvalidJob([Problem(f"YAML: {what}", source.file, mark.line + 1 if mark else None)]) from None
    except RecursionError:
        raise InvalidJob([Problem("is nested too deeply", source.file)]) from None
    except ValueError as error:  # of a value with a tag, such as `!!int x`
        raise InvalidJob([Problem(f"YAML: {error}", source.file)]) from None
    return source


def _parse(text: str, source: Source) -> None:
    """Fill in the source; raises what PyYAML raises."""
    loader = _Loader(text)
    try:
        document = loader.get_single_node()
    finally:
        loader.dispose()
    if document is None:
        raise InvalidJob([Problem("the file is empty", source.file)])
    if not isinstance(document, yaml.MappingNode):
        raise InvalidJob([Problem("must be a mapping of `key: value` lines", source.file, 1)])
    _walk(document, (), source, set())
    source.value = _Loader("").construct_document(document)


def _read_text(path: Path, shown: str) -> str:
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise InvalidJob([Problem("is a folder, not a job file", shown)]) from None
    except FileNotFoundError:
        raise InvalidJob([Problem("no such file", shown, hint="azure-distill init makes one")]) from None
    except OSError as error:
        raise InvalidJob([Problem(f"cannot be read: {error.strerror}", shown)]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidJob([Problem("is not UTF-8 text", shown, line)]) from None


def _walk(node: yaml.Node, place: Place, source: Source, walked: set[int]) -> None:
    """Record the lines of all keys and items; take out, as problems, duplicate keys and keys that are no texts."""
    if id(node) in walked:  # an alias of a node seen before, perhaps of one that holds it
        return
    walked.add(id(node))
    if isinstance(node, yaml.MappingNode):
        sound = []
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != TEXT:  # an anchor's merge, a number, yes or no
                source.problems.append(Problem("a key must be a plain word", source.file, line))
                continue
            inner = (*place, key.value)
            if inner in source.lines:
                message = f"duplicate key, first given on line {source.lines[inner]}"
                source.problems.append(Problem(message, source.file, line, ".".join(map(str, inner))))
                continue
            source.lines[inner] = line
            sound.append((key, value))
            _walk(value, inner, source, walked)
        node.value = sound
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            source.lines[(*place, index)] = item.start_mark.line + 1
            _walk(item, (*place, index), source, walked)
