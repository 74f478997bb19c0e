from __future__ import annotations

from evaluation.run import main
from shared.errors import run_main

run_main(main)
