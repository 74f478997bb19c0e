"""Whether distillation helps a student that writes: headlines of BBC news, by SmolLM2-135M.

    python benchmarks/generative.py [--gold 120] [--rows 240] [--test 100]

The teacher is SmolLM2-135M-Instruct adapted on the gold rows.  The student is the same model as it comes: it never
sees a gold headline and learns from the teacher's answers to other articles, by their text (`response`) and by the
teacher's probabilities of every token as well (`logits`).  Both are jobs of `azure-distill run`; the articles come out
of the package that the demo uses, in another order.  Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "components"), str(ROOT / "jobs")]

import bbc_topics_data  # noqa: E402

METHODS: dict[str, dict[str, Any]] = {"response": {"method": "response"}, "logits": {"method": "logits", "weight": 0.9}}
TRAINING = {"learning_rate": 5e-4, "num_epochs": 2, "batch_size": 8, "lora_rank": 16, "trained_layers": 10}
METRIC = "rouge_l"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", type=int, default=120)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--validation", type=int, default=40)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = write_rows(Path(scratch), vars(arguments))
        found = {method: run(Path(scratch), files, method) for method in arguments.methods}
    print(json.dumps(found, indent=1))


def write_rows(folder: Path, counts: dict[str, Any]) -> dict[str, str]:
    """The four row files; the training rows have no answer."""
    rows = list(bbc_topics_data.distinct(bbc_topics_data.articles(bbc_topics_data.wheel())))
    random.Random(1).shuffle(rows)
    files, start = {}, 0
    for name in ("gold", "rows", "validation", "test"):
        part, start = rows[start : start + counts[name]], start + counts[name]
        path = folder / f"{name}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for _, headline, lead in part:
                turns = [{"role": "system", "content": "Write a headline."}, {"role": "user", "content": lead}]
                answer = [] if name == "rows" else [{"role": "assistant", "content": headline}]
                file.write(json.dumps({"messages": turns + answer}, ensure_ascii=False) + "\n")
        files[name] = str(path)
    return files


def job(files: dict[str, str], method: str) -> dict[str, Any]:
    return {
        "name": f"headlines-{method}",
        "task_type": "summarization",
        "teacher_model": {
            "name": "smollm2-135m-instruct",
            "adapt_on": files["gold"],
            "adapt": TRAINING,
            "sampling": {"temperature": 0, "max_tokens": 24},
        },
        "student_model": "smollm2-135m-instruct",
        "training_data": files["rows"],
        "validation_data": files["validation"],
        "test_data": files["test"],
        "prompt_settings": {"max_len_summary": 16},
        "hyperparameters": TRAINING,
        "distillation": METHODS[method],
        "evaluation": {"metrics": [METRIC, "rouge_1"]},
    }


def run(folder: Path, files: dict[str, str], method: str) -> dict[str, Any]:
    path = folder / f"{method}.yaml"
    path.write_text(json.dumps(job(files, method)), encoding="utf-8")  # JSON is YAML
    started = time.monotonic()
    command = [sys.executable, "-m", "azure_distill", "run", str(path), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    found = json.loads(done.stdout)
    record = json.loads((Path(found["outputs"]["student_finetune"]["model"]) / "training.json").read_text())
    contenders = found["metrics"]["contenders"]
    return {
        "seconds": round(time.monotonic() - started),
        "training_seconds": record["seconds"],
        "validation": record["validation"],
        METRIC: {role: {"n": one["n"], **one["metrics"][METRIC]} for role, one in contenders.items()},
        "summary": found["metrics"]["summary"],
    }


if __name__ == "__main__":
    main()
