"""What the SDK says to nobody's use: warnings about its own preview classes, dots, and blank coloured lines."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import TextIO

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def quiet_loggers() -> None:
    """To be called after azure.ai.ml was imported, which sets its logger's level itself."""
    logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)
    logging.getLogger("azure.ai.ml._utils._endpoint_utils").setLevel(logging.ERROR)  # has a level of its own
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)  # what it says is raised too


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep off standard error the colour reset and blank lines that the SDK prints for each upload, and off standard
    output the dot that it prints whenever it asks a registry whether it is done.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(_WithoutBlanks(sys.stderr)):
        yield


class _WithoutBlanks(io.TextIOBase):
    """Passes on all but text of colours and white space only, and the line end that `print` adds to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = False

    def write(self, text: str) -> int:
        blank = not COLOUR.sub("", text).strip() and (COLOUR.search(text) is not None or self._dropped)
        self._dropped = blank
        if not blank:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
