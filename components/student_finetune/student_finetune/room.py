"""How much memory may be taken by what is kept from the first epoch for the others."""

from __future__ import annotations

import os

from student_finetune import ranks

SHARE = 1 / 8
"""Of the machine's memory, for all its processes together."""


def room() -> float:
    """Bytes that one process may keep."""
    return SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / ranks.local_world()
