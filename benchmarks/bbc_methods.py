"""What the teacher's probabilities are worth: one student by three ways, over several seeds.

    python benchmarks/bbc_methods.py --responses RESPONSES --gold GOLD [--seeds 3] [--skip-test]

`gold_only` learns the gold rows' answers, `response` the teacher's answers, `label_logits` the teacher's label
probabilities.  Same student, same hyperparameters, same number of epochs.  RESPONSES is an output of
teacher_inference, GOLD an output of prepare_data.  Accuracies are of rows with a reference; the best epoch is chosen
on the validation rows, so the test column is the one to quote.  A table goes to standard error, JSON to standard
output.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMPONENTS = Path(__file__).resolve().parent.parent / "components"
sys.path.insert(0, str(COMPONENTS))

from shared.chat import prompt_ids  # noqa: E402
from shared.generate import length_batches  # noqa: E402
from shared.labels import label_ids, label_logprobs  # noqa: E402
from shared.rows import Row, read_split  # noqa: E402
from shared.weights import load_model, load_tokenizer  # noqa: E402

LABELS = ("business", "entertainment", "politics", "sport", "tech")
WAYS = {"gold_only": "response", "response": "response", "label_logits": "label_logits"}
SPLITS = ("validation", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=Path, required=True)
    parser.add_argument("--gold", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", nargs="+", default=LABELS)
    parser.add_argument("--recipe", default="{}")
    parser.add_argument("--hyperparameters", type=json.loads, default={})
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--weight", type=float, default=0.9)
    parser.add_argument("--skip-test", action="store_true", help="look at the validation rows only")
    arguments = parser.parse_args()
    found = {way: [measure(arguments, way, seed) for seed in range(arguments.seeds)] for way in WAYS}
    print(table(found), file=sys.stderr)
    print(json.dumps(found, indent=2))


def measure(arguments: argparse.Namespace, way: str, seed: int) -> dict[str, Any]:
    """Train one student by the component and score it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        train(arguments, way, seed, folder)
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        splits = SPLITS[:1] if arguments.skip_test else SPLITS
        return {
            "seed": seed,
            **{split: accuracy(folder, read_split(arguments.responses, split), arguments.labels) for split in splits},
            **{name: record[name] for name in ("seconds", "tokens_per_s", "steps", "best_epoch", "parameters")},
        }


def train(arguments: argparse.Namespace, way: str, seed: int, model: Path) -> None:
    settings = {
        "data": arguments.gold if way == "gold_only" else arguments.responses,
        "recipe": arguments.recipe,
        "task": json.dumps({"type": "classification", "labels": arguments.labels}),
        "hyperparameters": json.dumps({**arguments.hyperparameters, "seed": seed}),
        "distillation": json.dumps(
            {"method": WAYS[way], "temperature": arguments.temperature, "weight": arguments.weight}
        ),
        "model": model,
    }
    command = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    paths = os.pathsep.join([str(COMPONENTS / "student_finetune"), str(COMPONENTS)])
    subprocess.run(
        [sys.executable, "-m", "student_finetune", *command],
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
        stdout=sys.stderr,
    )


def accuracy(model_folder: Path, rows: list[Row], labels: list[str]) -> float:
    """The share of the rows with a reference whose likeliest label is the reference."""
    import torch

    rows = [row for row in rows if row.reference is not None]
    tokenizer, model = load_tokenizer(str(model_folder)), load_model(str(model_folder), torch.float32)
    prompts = [prompt_ids(tokenizer, row.prompt) for row in rows]
    ids, right = label_ids(tokenizer, labels), 0
    with torch.inference_mode():
        for batch in length_batches(prompts, 64):
            scores = label_logprobs(model, [prompts[i] for i in batch], ids, int(tokenizer.pad_token_id))
            right += sum(
                labels[best] == rows[i].reference for best, i in zip(scores.argmax(1).tolist(), batch, strict=True)
            )
    return round(right / len(rows), 4)


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    lines = [f"{'':13}{'validation':>12}{'test':>12}{'seconds':>10}   (mean of {len(found['response'])} seeds, spread)"]
    for way, runs in found.items():
        cells = [spread([run[split] for run in runs if split in run]) for split in SPLITS]
        seconds = statistics.mean(run["seconds"] for run in runs)
        lines.append(f"{way:13}{cells[0]:>12}{cells[1]:>12}{seconds:>10.1f}")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ±{(max(values) - min(values)) / 2:.3f}" if values else "-"


if __name__ == "__main__":
    main()
