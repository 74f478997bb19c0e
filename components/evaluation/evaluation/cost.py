"""What running a model costs: latency, speed, size and memory, measured alike for every local contender.

One request at a time, warm, in process, from messages to text; all on the same rows.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
import transformers

if TYPE_CHECKING:
    from evaluation.answering import Asker

from evaluation.wording import IN_PROCESS
from shared.rows import Row
from shared.weights import weight_bytes

WARM_UP = 3  # requests that pay for caches and kernels being built


def measure(asker: Asker, rows: Iterable[Row], baseline: int) -> dict[str, Any]:
    """The cost of one request at a time over `rows`; `baseline` is `memory_baseline()` from before loading.

    Tokens a second count generated tokens, or the prompt's where a label is chosen.
    """
    sample = list(rows)
    for row in sample[:WARM_UP]:
        asker.answer([row])
    timed = [asker.timed([row]) for row in sample]
    peak = peak_memory() - baseline
    asker.truncated = asker.cut = 0
    milliseconds = [1000 * seconds for _, seconds in timed]
    p50, p95 = np.percentile(milliseconds, (50, 95))
    parameters = list(asker.model.parameters())
    return {
        "latency_ms": {
            "p50": float(p50),
            "p95": float(p95),
            "how": IN_PROCESS,
            "n": len(sample),
            "samples": [round(value, 3) for value in milliseconds],
        },
        "tokens_per_s": sum(answers[0].tokens for answers, _ in timed) / sum(seconds for _, seconds in timed),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "weight_bytes": weight_bytes(asker.model),
        "peak_memory_bytes": max(0, peak),
        "dtype": str(parameters[0].dtype).removeprefix("torch."),
        "device": parameters[0].device.type,
    }


def throughput(rows: int, seconds: float) -> dict[str, float]:
    """Rows a second when they are answered in batches of (at most) 16."""
    return {"rows_per_s": rows / seconds}


def memory_baseline(architectures: Iterable[str]) -> int:
    """Bytes in use before a model is loaded; peaks are counted from here on.

    The libraries' own memory, the code of the model's classes included, belongs to no model: it is taken first.
    """
    for name in architectures:
        getattr(transformers, name, None)
    square = torch.ones(64, 64)
    heads = (square @ square)[None, None]
    torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: resets VmHWM
    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """The most bytes in use since `memory_baseline`: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
