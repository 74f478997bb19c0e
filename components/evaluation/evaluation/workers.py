"""A process for each contender, one after the other (`python -m evaluation.workers JOB…`).

Where there is no GPU, each begins as a copy of this process, with the libraries loaded once for all: they take longer
than a small model's answers.  A GPU's driver does not survive being copied, so there each loads its own.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from evaluation import worker
from evaluation.contenders import Job, ended
from shared.rows import write_json

LIBRARIES = ("evaluation.answering", "evaluation.cost", "evaluation.likelihood", "shared.scratch")
MODELS = "transformers.models.auto.modeling_auto"
GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def main(texts: Sequence[str]) -> None:
    """Do the jobs (see `Job`); one whose process leaves no result gets one that says how it ended."""
    copies = sys.platform == "linux" and not any(map(os.path.exists, GPU_DRIVERS))
    for name in (*LIBRARIES, MODELS) if copies else ():
        importlib.import_module(name)
    for text in texts:
        code = _end(_copy if copies else _program, text)
        result = Path(Job.from_json(text).result)
        if not result.exists():
            write_json(result, {"error": ended(code), "exit_code": 1})


def _end(begin: Callable[[str], int], text: str) -> int:
    """The exit code of a process for `text`, or minus the signal that ended it; SIGTERM here ends it first."""
    held = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, held)  # until it is known whom to end
    process = begin(text)

    def stop(number: int, frame: FrameType | None) -> None:
        os.kill(process, signal.SIGKILL)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    signal.signal(signal.SIGTERM, before)
    return code


def _copy(text: str) -> int:
    """The id of a copy of this process, at work."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        worker.main(text)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:  # whatever happens, the copy does not go on with this process's work
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _program(text: str) -> int:
    """The id of a process of its own, at work."""
    return os.posix_spawn(sys.executable, [sys.executable, "-m", "evaluation.worker", text], os.environ, setsigmask=[])


if __name__ == "__main__":
    main(sys.argv[1:])
