"""Files as rows: `.jsonl`, `.csv` and `.parquet`, one row at a time."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prepare_data.lines import MAX_LINE, read_lines
from prepare_data.problems import Problems
from prepare_data.settings import Columns, closest, did_you_mean
from prepare_data.strict import BadJson, parse
from shared.errors import Problem

if TYPE_CHECKING:
    import pyarrow

Records = Iterator[tuple[int, Any]]


@dataclass(frozen=True)
class FileFacts:
    """`lines` are physical lines of a text file and rows of a Parquet file: what progress is counted in."""

    bytes: int
    sha256: str
    lines: int


def open_problem(path: Path) -> Problem | None:
    """Why the file cannot be read at all; None where it can."""
    if not path.exists():
        return Problem("does not exist", str(path))
    if not path.is_file():
        return Problem("is a folder, not a file" if path.is_dir() else "is not a regular file", str(path))
    if path.suffix.lower() not in READERS:
        return Problem("is of an unknown format", str(path), hint=f"the format is told by {', '.join(READERS)}")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        return Problem(f"cannot be read: {error.strerror}", str(path))
    return Problem("is empty", str(path)) if empty else None


def file_facts(path: Path) -> FileFacts:
    """Size, content hash and length of a file, in one pass over its bytes."""
    digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else lines + (last != b"\n")
    return FileFacts(size, digest.hexdigest(), rows)


def read_records(path: Path, columns: Columns, problems: Problems) -> Records:
    """(line, row) of a file that has no `open_problem`; what cannot become a row goes to `problems`.

    The line is that on which the row begins, in a Parquet file the number of the row, from 1.
    """
    return READERS[path.suffix.lower()](path, columns, problems)


def read_jsonl(path: Path, columns: Columns, problems: Problems) -> Records:
    for number, data in read_lines(path, problems):
        ended = data.endswith(b"\n")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            cut = not ended and error.reason == "unexpected end of data"
            message = CUT if cut else f"is not UTF-8: byte {error.start + 1} of the line"
            problems.add(Problem(message, str(path), number))
            continue
        if not text.strip():
            continue
        if number == 1 and text.startswith("["):
            problems.add(Problem("is one JSON list", str(path), number, hint="write one JSON object a line, no list"))
            return
        try:
            yield number, parse(text)
        except BadJson as error:
            problem = error.problem
            message = CUT if error.cut and not ended else problem.message
            problems.add(Problem(message, str(path), number, problem.field))


CUT = "is half a row: the file ends in the middle of it"


def read_csv(path: Path, columns: Columns, problems: Problems) -> Records:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(_csv_lines(path, problems), strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(Problem(f"is not CSV: {error}", str(path), line, hint="reading stopped here"))
            return
        if not cells:
            continue
        if header is None:
            header = cells
            flaws = header_problems(header, columns)
            problems.add(*(Problem(flaw.message, str(path), line, flaw.field, flaw.hint) for flaw in flaws))
            if flaws:
                return
        elif len(cells) != len(header):
            problems.add(Problem(f"has {len(cells)} cells, the header has {len(header)}", str(path), line))
        else:
            yield line, {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _csv_lines(path: Path, problems: Problems) -> Iterator[str]:
    """Decoded lines; one that is not UTF-8 is reported and read with its bad bytes replaced, so quotes still match."""
    expected = 1
    for number, data in read_lines(path, problems):
        for _ in range(expected, number):  # a line that was refused still counts, or every later number is wrong
            yield "\n"
        expected = number + 1
        try:
            yield data.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.add(Problem(f"is not UTF-8: byte {error.start + 1} of the line", str(path), number))
            yield data.decode("utf-8", errors="replace")


def _parquet_rows(path: Path) -> int:
    """Rows by the file's own account; 0 where that cannot be read, which `read_parquet` reports."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return 0
    try:
        return int(parquet.read_metadata(path).num_rows)
    except (pyarrow.ArrowException, OSError):
        return 0


def read_parquet(path: Path, columns: Columns, problems: Problems) -> Records:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        problems.add(Problem("needs pyarrow to be read", str(path), hint="pip install pyarrow, or give .jsonl"))
        return
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = [field.name for field in file.schema_arrow if _is_json(field.type)]
            flaws = header_problems(names, columns)
            problems.add(*(Problem(flaw.message, str(path), None, flaw.field, flaw.hint) for flaw in flaws))
            if flaws:
                return
            others = [name for name in file.schema_arrow.names if name not in names]
            if others:
                problems.warnings.append(f"{path}: left out columns that are no JSON: {', '.join(others)}")
            for batch in file.iter_batches(batch_size=256, columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = type(error).__name__
        problems.add(Problem(f"is not a readable Parquet file ({kind} after {number} rows)", str(path)))


def _is_json(kind: pyarrow.DataType) -> bool:
    """Whether values of an Arrow type can stand in a JSON row; dates, binary and maps cannot."""
    from pyarrow import types

    if types.is_dictionary(kind) or types.is_list(kind) or types.is_large_list(kind):
        return _is_json(kind.value_type)
    if types.is_struct(kind):
        return all(_is_json(field.type) for field in kind)
    texts = types.is_string(kind) or types.is_large_string(kind)
    numbers = types.is_integer(kind) or types.is_floating(kind)
    return bool(texts or numbers or types.is_boolean(kind) or types.is_null(kind))


def header_problems(names: list[str], columns: Columns) -> list[Problem]:
    """What a table lacks, by the names of its columns."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    problems = [Problem("is the name of two columns", field=name[:40]) for name in twice]
    flat = columns.flat()
    if columns.id != Columns.id:
        flat["id"] = columns.id
    if columns.messages in names and flat.get("prompt") not in names:
        return problems
    if not flat:
        close = closest(columns.messages, names)
        hint = f"rename {close!r}" if close else 'name yours in data.columns: {"prompt": …, "answer": …}'
        return [*problems, Problem("there is no such column", field=columns.messages, hint=hint)]
    return problems + [
        Problem("there is no such column", field=column, hint=did_you_mean(column, names) or f"data.columns.{part}")
        for part, column in flat.items()
        if column not in names
    ]


READERS: dict[str, Callable[[Path, Columns, Problems], Records]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
