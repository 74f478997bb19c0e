"""Texts as sets of shingles: every three words in a row, as 32-bit numbers."""

from __future__ import annotations

import re
from array import array
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

WIDTH = 3
# scripts that put no spaces between words: there, a character is a word (Thai to Burmese, Khmer, kana, Han)
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORDS = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+|[^\w\s]")
_ASCII_WORDS = re.compile(r"\w+|[^\w\s]")  # finds the same in ASCII text, sooner
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


def words(text: str) -> list[str]:
    """Lower-case words; a punctuation mark is a word, since `3 + 4` is not `3 - 4`."""
    return (_ASCII_WORDS if text.isascii() else _WORDS).findall(text.lower())


def shingles(text: str) -> NDArray[np.uint32]:
    """The sorted set of hashes of all runs of three words; of all words together where there are fewer."""
    found = words(text)
    if not found:
        return np.empty(0, np.uint32)
    hashes = np.zeros(max(len(found), WIDTH), np.uint64)
    hashes[: len(found)] = np.fromiter(map(crc32, " ".join(found).encode().split(b" ")), np.uint64, len(found))
    count = len(hashes) - WIDTH + 1
    mixed = hashes[:count] * _MIX[0] + hashes[1 : count + 1] * _MIX[1] + hashes[2:] * _MIX[2]
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX[0]
    values = np.sort((mixed >> np.uint64(32)).astype(np.uint32))
    distinct: NDArray[np.uint32] = values[np.append(True, values[1:] != values[:-1])]  # thrice as fast as np.unique
    return distinct


class Shingles:
    """The shingle sets of many texts in one flat array."""

    def __init__(self) -> None:
        self._values = array("I")
        self._ends = array("q", [0])

    def add(self, text: str) -> None:
        self._values.frombytes(shingles(text).tobytes() if text else b"")
        self._ends.append(len(self._values))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def values(self) -> NDArray[np.uint32]:
        """All sets, one after the other."""
        return np.frombuffer(self._values, np.uint32) if self._values else np.empty(0, np.uint32)

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Set k is values[bounds[k]:bounds[k + 1]]."""
        return np.frombuffer(self._ends, np.int64)
