from __future__ import annotations

from shared.errors import run_main
from student_finetune.main import main

if __name__ == "__main__":
    run_main(main)
