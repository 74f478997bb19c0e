"""One contender in its own process (`python -m evaluation.worker`): load it, time it, let it answer every row."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from evaluation.answering import Asker

from evaluation.contenders import Contender, Job
from shared.errors import ComponentError, InvalidInput, NotFound, Problem
from shared.progress import Progress
from shared.rows import Row, read_rows, write_json, write_jsonl
from shared.tasks import Rejected, Task, load_task
from shared.weights import load_model, load_tokenizer, locate

CHUNK = 512  # rows held at once; batches of one length are made within a chunk


def main(text: str) -> None:
    """Do the job of `text` (see `Job`) and write its result file, which says what went wrong if something did."""
    job = Job.from_json(text)
    try:
        result = run(job)
    except ComponentError as error:
        result = {"error": str(error), "exit_code": error.exit_code}
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip().splitlines() or [""])[0]
        result = {"error": f"{type(error).__name__}: {first}", "exit_code": 1}
    write_json(Path(job.result), result)


def run(job: Job) -> dict[str, Any]:
    """The cost of running the contender; its answers are written on the way."""
    from evaluation.answering import Asker
    from evaluation.cost import BATCHES, measure, memory_baseline, queries_per_hour

    print(f"evaluating {job.contender.role}: {job.contender.name}", flush=True)
    test, task = Path(job.test), without_reasoning(load_task(job.task))
    count = sum(1 for _ in read_rows(test))
    contender = job.contender
    source = locate(Path(contender.folder) if contender.folder else None, contender.model_id)
    start = memory_baseline(architectures(source))
    model, tokenizer = load(contender, source)
    asker = Asker(model, tokenizer, task, job.max_new_tokens, as_teacher=contender.role == "teacher")
    cost = measure(asker, list(evenly(read_rows(test), count, job.latency_rows)), start)
    many = list(evenly(read_rows(test), count, max(BATCHES)))
    cost["queries_per_hour"] = queries_per_hour(asker, many, cost["latency_ms"])
    if not contender.asked:
        return cost | {"rows_per_s": max(cost["queries_per_hour"].values()) / 3600}
    asker.truncated = asker.cut = 0  # what was only timed does not count
    seconds, empty = write_answers(Path(job.answers), asker, test, count)
    counts = {"truncated_prompts": asker.truncated, "cut_answers": asker.cut, "empty_answers": empty}
    return cost | {"rows_per_s": count / seconds} | counts


def load(contender: Contender, source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) of a contender.

    A teacher gets the number format that this machine computes fastest, as when it was hosted; students that of
    their file, as whoever loads the folder gets them.
    """
    import torch
    from transformers import AutoConfig

    tokenizer = load_tokenizer(source)
    if contender.scratch:
        from shared.scratch import untrained

        model: Any = untrained(Path(source))
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer
    if contender.role == "teacher":
        return load_model(source), tokenizer
    return load_model(source, AutoConfig.from_pretrained(source).dtype or torch.float32), tokenizer


def architectures(source: str) -> list[str]:
    """The model classes that a source's configuration names."""
    from transformers import AutoConfig

    try:
        return list(AutoConfig.from_pretrained(source).architectures or [])
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NotFound(Problem(f"cannot load the model {source!r}: {reason}", hint="a folder, or a hub id")) from None


def without_reasoning(task: Task) -> Task:
    """The task as everybody is asked here: for the answer alone, which is all that a student learns."""
    return type(task)(replace(task.settings, chain_of_thought=False, chain_of_density=False))


def is_valid(task: Task, row: Row, text: str) -> bool | None:
    """Whether a written answer has the task's form; None where it was chosen among candidates and cannot but."""
    candidates = task.candidates(row.prompt)
    if candidates:
        return None
    try:
        task.extract(text, candidates)
    except Rejected:
        return False
    return True


def write_answers(path: Path, asker: Asker, test: Path, count: int) -> tuple[float, int]:
    """Write every row's answer, in the order of the rows; returns the seconds spent and how many answers are empty."""
    from evaluation.likelihood import likelihoods

    seconds, empty = 0.0, 0

    def answers() -> Iterator[dict[str, Any]]:
        nonlocal seconds, empty
        with Progress(count, "rows") as progress:
            for rows in chunks(read_rows(test), CHUNK):
                given, spent = asker.timed(rows, progress)
                seconds += spent
                empty += sum(not answer.text.strip() for answer in given)
                for row, answer, likelihood in zip(rows, given, likelihoods(asker, rows), strict=True):
                    if not all(map(math.isfinite, [*(answer.probabilities or {}).values(), *(likelihood or ())])):
                        raise InvalidInput("its weights give probabilities that are not numbers")
                    yield {
                        "id": row.id,
                        "answer": answer.text,
                        "probabilities": answer.probabilities,
                        "valid": is_valid(asker.task, row, answer.text),
                        "likelihood": likelihood,
                    }

    write_jsonl(path, answers())
    return seconds, empty


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def evenly(rows: Iterable[Row], count: int, wanted: int) -> Iterator[Row]:
    """About `wanted` of `count` rows, evenly spaced: the same for every contender."""
    wanted = min(wanted, count)
    places = {index * count // wanted for index in range(wanted)}
    return (row for place, row in enumerate(rows) if place in places)


if __name__ == "__main__":
    main(sys.argv[1])
