"""What running a model costs: latency, speed, size and memory, measured alike for every local contender.

One request at a time, warm, in process, from messages to text; all on the same rows.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping, Sequence
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
BATCHES = (8, 32)  # the sizes, beside 1, at which throughput is measured, over as many rows as the largest holds


def measure(asker: Asker, sample: Sequence[Row], baseline: int) -> dict[str, Any]:
    """The cost of one request at a time over `sample`; `baseline` is `memory_baseline()` from before loading.

    Tokens a second count generated tokens, or the prompt's where a label is chosen.
    """
    for row in sample[:WARM_UP]:
        asker.answer([row])
    timed = [asker.timed([row]) for row in sample]
    peak = peak_memory() - baseline
    seconds = [spent for _, spent in timed]
    parameters = list(asker.model.parameters())
    return {
        "latency_ms": _latency(seconds),
        "ttft_ms": first_token(asker, sample),
        "tokens_per_s": sum(answers[0].tokens for answers, _ in timed) / sum(seconds),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "weight_bytes": weight_bytes(asker.model),
        "peak_memory_bytes": max(0, peak),
        "dtype": str(parameters[0].dtype).removeprefix("torch."),
        "device": parameters[0].device.type,
    }


def first_token(asker: Asker, sample: Sequence[Row]) -> dict[str, Any] | None:
    """The time to the first token of a written answer; None where every answer is chosen among candidates."""
    written = [row for row in sample if not asker.task.candidates(row.prompt)]
    if not written:
        return None
    brief = asker.with_limit(1)
    brief.answer(written[:1])
    return _latency([brief.timed([row])[1] for row in written])


def queries_per_hour(asker: Asker, sample: Sequence[Row], one_by_one: Mapping[str, Any]) -> dict[str, float]:
    """{batch size: requests an hour}; sizes that `sample` does not fill are left out.

    `one_by_one` is the latency of single requests: batch 1 needs no measuring of its own.
    """
    rates = {"1": 3.6e6 / one_by_one["mean"]}
    for batch in BATCHES:
        if len(sample) >= batch:
            rates[str(batch)] = 3600 * len(sample) / asker.timed(sample, batch=batch)[1]
    return rates


def _latency(seconds: Sequence[float]) -> dict[str, Any]:
    milliseconds = [1000 * value for value in seconds]
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return {
        "p50": float(p50),
        "p95": float(p95),
        "mean": float(np.mean(milliseconds)),
        "how": IN_PROCESS,
        "n": len(milliseconds),
        "samples": [round(value, 3) for value in milliseconds],
    }


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
