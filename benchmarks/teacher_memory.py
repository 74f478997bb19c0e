"""The peak memory of a run of teacher_inference over many rows: prints one JSON object.

    python benchmarks/teacher_memory.py [--rows 100000] [--words 0]

`words` makes each prompt longer; a run that streams its rows needs no more memory for it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from teacher_client import Behaviour, Server, run_component, write_rows

CONCURRENCY = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=0)
    given = parser.parse_args()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as scratch, Server(Behaviour(latency=0.0)) as server:
        write_rows(Path(scratch), given.rows, given.words)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=peak, args=(server.url, Path(scratch), sender))
        started = time.perf_counter()
        process.start()
        found = receiver.recv()
        process.join()
    print(json.dumps({"rows": given.rows, "peak_mb": found, "seconds": round(time.perf_counter() - started, 1)}))


def peak(url: str, folder: Path, sender: Connection) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        run_component(url, folder, CONCURRENCY)
    sender.send(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))


if __name__ == "__main__":
    main()
