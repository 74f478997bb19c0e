"""Kills a run of teacher_inference again and again and counts what that costs: prints one JSON object.

    python benchmarks/kill_teacher.py [--kills 200] [--rows 2000] [--concurrency 8] [--seed 0]

Each life is a process of its own, ended by SIGKILL at a random moment: when the server has received a random number of
its requests, up to twice its share of the rows, and a random part of a round trip later.  The last one may finish.
`lost` counts answers that were in the store and are there no more, `repeated` the requests sent beyond one a
row, `most_by_one_kill` what a single kill cost.  Exits with 1 when anything was lost, or a kill cost more than the
requests that were in flight.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from teacher_client import Behaviour, Server, run_component, write_rows

LATENCY = 0.02  # seconds an answer takes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    import teacher_inference.endpoint
    import teacher_inference.runner
    import teacher_inference.source
    import teacher_inference.store  # noqa: F401  imported before the forks, or lives would end while importing

    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as scratch, Server(Behaviour(LATENCY)) as server:
        folder = Path(scratch)
        write_rows(folder, given.rows)
        lost = most = kills_that_cost = unstored = 0
        before: set[str] = set()
        for _ in range(given.kills):
            process = begin(server.url, folder, given.concurrency)
            target = server.received.value + rng.randrange(2 * given.rows // given.kills)
            while server.received.value < target and process.is_alive():
                time.sleep(0.0005)
            time.sleep(rng.uniform(0, LATENCY))
            process.kill()
            process.join()
            time.sleep(2 * LATENCY)
            while server.open.value:  # the server still reads what the dead had sent
                time.sleep(LATENCY)
            now, missing = stored(folder), server.seen()["requests"]
            missing -= len(now)
            lost += len(before - now)
            kills_that_cost += missing > unstored
            most, unstored, before = max(most, missing - unstored), missing, now
        begin(server.url, folder, given.concurrency).join()
        seen, answered = server.seen(), sum(1 for _ in (folder / "responses" / "train.jsonl").open())
    found = {"kills": given.kills, "rows": given.rows, "answered": answered, "lost": lost}
    found |= {"requests": seen["requests"], "repeated": seen["requests"] - seen["distinct"]}
    found |= {"kills_that_cost": kills_that_cost, "in_flight": given.concurrency, "most_by_one_kill": most}
    print(json.dumps(found))
    sys.exit(bool(lost or answered < given.rows or most > given.concurrency))


def begin(url: str, folder: Path, concurrency: int) -> Any:
    """A process that asks."""
    process = multiprocessing.get_context("fork").Process(target=silent, args=(url, folder, concurrency))
    process.start()
    return process


def silent(url: str, folder: Path, concurrency: int) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        run_component(url, folder, concurrency)


def stored(folder: Path) -> set[str]:
    """The keys of all whole records, read without the component's own code."""
    keys: set[str] = set()
    for path in (folder / "answers").glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                keys.add(json.loads(line)["key"])
    return keys


if __name__ == "__main__":
    main()
