from shared.errors import run_main
from teacher_inference.main import main

run_main(main)
