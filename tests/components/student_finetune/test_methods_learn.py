"""Each method brings a student nearer to its teacher on held-out rows than the teacher's text alone does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.tasks import load_task
from student_finetune.align import Aligner, Listed
from student_finetune.data import Example
from student_finetune.hosted import HostedTeacher
from student_finetune.losses import DIVERGENCES, label_kl
from student_finetune.settings import Hyperparameters
from student_finetune.signals import LabelProbabilities, ListedTokens, Objective, Signal, WholeDistribution
from student_finetune.students import Student
from student_finetune.train import train

TOKENIZER = train_tokenizer(["one two"] * 4, 300)
PAD, END = int(TOKENIZER.pad_token_id), int(TOKENIZER.eos_token_id)
WORDS = range(20, 40)
LABELS = ((20,), (21,), (22,))


@cache
def teacher() -> Any:
    """Learnt a language in which a word says which are likely next."""
    draw = np.random.default_rng(0)
    table = draw.dirichlet([0.2] * len(WORDS), size=len(WORDS))

    def text() -> Example:
        words = list(draw.integers(0, len(WORDS), 2))
        for _ in range(8):
            words.append(int(draw.choice(len(WORDS), p=table[words[-1]])))
        return Example([WORDS[w] for w in words[:2]], [*(WORDS[w] for w in words[2:]), END])

    model = initial_model(make_config(Recipe(32, 1, 2, 64, 300), TOKENIZER), 0)
    learner = Student(model, TOKENIZER, torch.float32)
    train(learner, [text() for _ in range(1000)], Objective(), hyperparameters(8), None, Path("unused"))
    return learner.model


def hyperparameters(epochs: int) -> Hyperparameters:
    return Hyperparameters(learning_rate=0.02, batch_size=25, num_epochs=epochs)


def answered(count: int, seed: int) -> Iterator[Example]:
    """Rows with the teacher's own answers, drawn at temperature 1, and all that a method may want of it."""
    model = teacher()
    torch.manual_seed(seed)
    prompts = torch.tensor([[WORDS[a], WORDS[b]] for a, b in np.random.default_rng(seed).integers(0, 20, (count, 2))])
    tokens, logprobs = prompts, []
    for _ in range(6):
        with torch.no_grad():
            logprobs.append(model(tokens).logits[:, -1].log_softmax(-1))
        tokens = torch.cat([tokens, logprobs[-1].exp().multinomial(1)], 1)
    likeliest = torch.stack(logprobs, 1).topk(5)
    for number in range(count):
        values, ids = likeliest.values[number].numpy(), likeliest.indices[number].numpy().astype(np.int32)
        labels = tuple(float(logprobs[0][number, ids[0]]) for ids in LABELS)
        answer = [int(token) for token in tokens[number, 2:]]
        prompt = prompts[number].tolist()
        yield Example(prompt, answer, LABELS, labels, Listed(ids, values), tuple(prompt), number)


def differences(model: Any) -> dict[str, float]:
    """Of student and teacher on rows that nobody has learnt, by each of the measures."""
    rows = list(answered(200, seed=9))
    inputs = torch.tensor([row.prompt + row.answer for row in rows])
    with torch.no_grad():
        theirs, own = (each(inputs).logits[:, 1:-1] for each in (teacher(), model))
    first = [each[:, 0, [ids[0] for ids in LABELS]] for each in (own, theirs)]
    return {
        **{name: float(differ(own, theirs, 1.0).mean()) for name, differ in DIVERGENCES.items()},
        "label_logits": float(label_kl(first[0], first[1], 1.0)) / len(rows),
    }


@cache
def learnt(method: str) -> dict[str, float]:
    rows = list(answered(100, seed=1))
    signals: dict[str, Signal] = {
        "label_logits": LabelProbabilities(TOKENIZER, 1.0),
        "top": ListedTokens(Aligner(TOKENIZER)),
        **{kind: WholeDistribution(hosted(), kind, 1.0) for kind in DIVERGENCES},
    }
    objective = Objective()
    if method != "response":
        signal = signals[method]
        objective = Objective((signal,), {"response": 0.3, signal.name: 0.7}, ramp=0.5)
    used = [row if method == "label_logits" else replace(row, candidates=(), teacher=()) for row in rows]
    student = Student(initial_model(make_config(Recipe(32, 1, 2, 64, 300), TOKENIZER), 1), TOKENIZER, torch.float32)
    train(student, used, objective, hyperparameters(40), None, Path("unused"))
    return differences(student.model)


def hosted() -> HostedTeacher:
    return HostedTeacher(teacher(), TOKENIZER, TOKENIZER, load_task('{"type": "conversation"}'))


@pytest.mark.parametrize(
    ("method", "measure"),
    [("label_logits", "label_logits"), ("top", "forward_kl"), *((kind, kind) for kind in DIVERGENCES)],
)
def test_probabilities_teach_more_than_the_text(method: str, measure: str) -> None:
    assert learnt(method)[measure] < 0.9 * learnt("response")[measure]
