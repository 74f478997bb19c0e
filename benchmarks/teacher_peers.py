"""What other data generators cost a request: run by teacher_client.py with the python of an environment of theirs.

    PYTHON benchmarks/teacher_peers.py curator|distilabel URL REQUESTS CONCURRENCY

Each is used as its documentation shows, with its cache off and every limit of its own out of the way.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from importlib import resources
from typing import Any


def prompt(number: int) -> str:
    return f"Article {number}: " + "the match ended two to one after a late goal " * 5 + "\nTopic?"


def curator(url: str, requests: int, concurrency: int) -> None:
    os.environ |= {"CURATOR_DISABLE_CACHE": "1", "CURATOR_VIEWER": "0", "TELEMETRY_ENABLED": "false"}
    os.environ["CURATOR_CACHE_DIR"] = tempfile.mkdtemp()
    # it counts tokens by a table that it would fetch; litellm, which it brings along, holds the same
    tables = resources.files("litellm.litellm_core_utils.tokenizers")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tables)
    from bespokelabs import curator as library

    limits = {"max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10_000_000_000}
    backend: dict[str, Any] = {"base_url": url, "max_concurrent_requests": concurrency, **limits}
    llm = library.LLM(model_name="teacher", backend="openai", backend_params=backend)
    assert len(llm([prompt(number) for number in range(requests)]).dataset) == requests


def distilabel(url: str, requests: int, concurrency: int) -> None:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline(cache_dir=tempfile.mkdtemp()) as pipeline:
        rows = LoadDataFromDicts(
            data=[{"instruction": prompt(number)} for number in range(requests)], batch_size=concurrency
        )
        llm = OpenAILLM(model="teacher", base_url=url, api_key="none")
        rows >> TextGeneration(llm=llm, input_batch_size=concurrency)  # type: ignore[operator]
    assert len(pipeline.run(use_cache=False)["default"]["train"]) == requests


def main() -> None:
    name, url, requests, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.environ |= {"OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}
    before, started = cpu(), time.perf_counter()
    globals()[name](url, requests, concurrency)
    seconds, used = time.perf_counter() - started, cpu() - before
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    figures = {"rps": round(requests / seconds), "cpu_ms": round(used / requests * 1000, 3), "peak_mb": round(peak)}
    print(json.dumps(figures))


def cpu() -> float:
    """CPU seconds of this process and of the children that have ended: distilabel works in some."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    main()
