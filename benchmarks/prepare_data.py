"""How fast `prepare_data` is, and how much memory it takes: prints one JSON object.

    python benchmarks/prepare_data.py [--rows 50000] [--kind chat|template]

`chat`: multi-turn conversations of about 1 KB, words drawn by Zipf's law with common phrases, 2 % exact and 3 % near
repeats.  `template`: one sentence in a long instruction that 1 of 200 rows shares, the worst case of the search for
near duplicates.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COMPONENTS = Path(__file__).resolve().parent.parent / "components"
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--kind", choices=KINDS, default="chat")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "rows.jsonl"
        with source.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in KINDS[arguments.kind](arguments.rows, random.Random(7)))
        print(json.dumps({"kind": arguments.kind, "rows": arguments.rows, **measure(source, Path(scratch))}))


def measure(source: Path, scratch: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "prepare_data", "--task", '{"type": "conversation"}']
    folders = ["--training-data", str(source), "--data", str(scratch / "data"), "--gold", str(scratch / "gold")]
    paths = os.pathsep.join([str(COMPONENTS / "prepare_data"), str(COMPONENTS)])
    started = time.perf_counter()
    subprocess.run([*command, *folders], env={**os.environ, "PYTHONPATH": paths}, check=True, stdout=sys.stderr)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads((scratch / "data" / "data_report.json").read_text())
    return {
        "bytes": source.stat().st_size,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
        "duplicates": report["duplicates"],
        "near_duplicates": report["near_duplicates"],
    }


def chat(rows: int, draw: random.Random) -> Iterator[Row]:
    """Conversations of one to four turns; some repeat one of the last thousand, word by word or with a word changed."""
    text = zipf_text(draw)
    recent: list[list[str]] = []
    for _ in range(rows):
        chance = draw.random()
        if recent and chance < 0.05:
            turns = list(draw.choice(recent))
            if chance > 0.02:
                words = turns[-2].split(" ")
                words[draw.randrange(len(words))] = "replaced"
                turns[-2] = " ".join(words)
        else:
            count = draw.choice([2, 4, 6, 8])
            turns = [text(130 // count) for _ in range(count)]
        recent = [*recent[-999:], turns]
        yield {"messages": [message(place, turn) for place, turn in enumerate(turns)]}


def template(rows: int, draw: random.Random) -> Iterator[Row]:
    """A sentence of six words in one of 200 instructions of 90 words."""
    text = zipf_text(draw)
    instructions = [text(90) for _ in range(200)]
    for _ in range(rows):
        turns = [f"{draw.choice(instructions)}\n{text(6)}", text(20)]
        yield {"messages": [message(place, turn) for place, turn in enumerate(turns)]}


def message(place: int, content: str) -> dict[str, str]:
    return {"role": "assistant" if place % 2 else "user", "content": content}


def zipf_text(draw: random.Random) -> Callable[[int], str]:
    """A function that writes so many words: three in ten from common phrases, the others from 40,000 by Zipf's law."""
    letters = "etaoinshrdlucmfwypvbgk"
    vocabulary = ["".join(draw.choices(letters, k=2 + len(str(rank)) + rank % 4)) for rank in range(40_000)]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    phrases = [" ".join(draw.choices(vocabulary, weights, k=5)) for _ in range(500)]
    heavy = [1 / (rank + 1) for rank in range(len(phrases))]
    pool = draw.choices(vocabulary, weights, k=1_000_000)

    def text(count: int) -> str:
        start = draw.randrange(len(pool) - count)
        words = pool[start : start + count * 7 // 10]
        while len(words) < count:
            place = draw.randrange(len(words) + 1)
            words[place:place] = draw.choices(phrases, heavy)[0].split(" ")
        return " ".join(words[:count]).capitalize() + "."

    return text


KINDS: dict[str, Callable[[int, random.Random], Iterator[Row]]] = {"chat": chat, "template": template}

if __name__ == "__main__":
    main()
