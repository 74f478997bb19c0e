"""Each signal against a closed form on a small real model, and how they are mixed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from shared.errors import InvalidInput
from shared.rows import Row
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.tasks import load_task
from student_finetune.align import Aligner, Listed
from student_finetune.collate import Collator
from student_finetune.data import Encoder, Example
from student_finetune.hosted import HostedTeacher, shared_vocabulary
from student_finetune.losses import ABSENT, forward_kl
from student_finetune.settings import parse_distillation
from student_finetune.signals import (
    LabelProbabilities,
    ListedTokens,
    Objective,
    Signal,
    WholeDistribution,
    make_objective,
)

TOKENIZER = train_tokenizer(["one two"] * 4, 300)
PAD, END = int(TOKENIZER.pad_token_id), int(TOKENIZER.eos_token_id)
CONFIG = make_config(Recipe(32, 1, 2, 48, 300), TOKENIZER)
VOCABULARY = int(CONFIG.vocab_size)
TASK = load_task('{"type": "conversation"}')
ROWS = [
    Example([7] * 3, [20, END], ((20,), (21, 22)), (math.log(0.9), math.log(0.1)), number=0),
    Example([8] * 12, [21, 22, 23, END], number=1),
]


def shaken(seed: int) -> Any:
    model: Any = initial_model(CONFIG, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.dim() > 1 else 1)
    return model


STUDENT = shaken(0)


def predictions(model: Any, rows: list[Example] = ROWS) -> torch.Tensor:
    """Logits of every answer token: [answer tokens, vocabulary]."""
    with torch.inference_mode():
        found = [
            model(torch.tensor([row.prompt + row.answer])).logits[0, len(row.prompt) - 1 : -1].clone() for row in rows
        ]
    return torch.cat(found)


ANSWERS = torch.tensor([token for row in ROWS for token in row.answer])
NLL = -predictions(STUDENT).log_softmax(-1)[range(len(ANSWERS)), ANSWERS]


def objective(signal: Signal, share: float, ramp: float = 0.0) -> Objective:
    return Objective((signal,), {"response": 1 - share, signal.name: share}, ramp)


def terms(chosen: Objective, rows: list[Example] = ROWS, progress: float = 1.0) -> dict[str, float]:
    batch = Collator(PAD)(rows)
    found = chosen.terms(STUDENT, batch, progress)
    assert found.keys() == chosen.items(batch).keys()
    return {name: float(term.detach()) for name, term in found.items()}


def test_response_is_plain_cross_entropy() -> None:
    assert terms(Objective()) == {"response": pytest.approx(float(NLL.sum()), rel=1e-4)}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rows_without_label_probabilities_are_learnt_as_text_alone(share: float) -> None:
    found = terms(objective(LabelProbabilities(TOKENIZER, 2.0), share))
    text = (1 - share) * float(NLL[:2].sum()) + float(NLL[2:].sum())
    assert found["response"] == pytest.approx(text, rel=1e-4)
    assert (found["label_logits"] > 0) == (share > 0)


def certain(rows: list[Example]) -> list[Example]:
    """The rows with a teacher that lists the answer's own tokens at probability 1."""
    return [
        replace(row, listed=Listed(np.array([row.answer]).T, np.zeros((len(row.answer), 1), np.float32)))
        for row in rows
    ]


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_an_endpoint_that_is_certain_teaches_exactly_cross_entropy(share: float) -> None:
    signal = ListedTokens(Aligner(TOKENIZER))
    found = terms(objective(signal, share), certain(ROWS))
    assert found["logits"] == pytest.approx(share * float(NLL.sum()), rel=1e-4)
    assert sum(found.values()) == pytest.approx(float(NLL.sum()), rel=1e-4)


def test_positions_of_an_endpoint_that_do_not_align_are_learnt_as_text() -> None:
    first, second = certain(ROWS)
    assert first.listed is not None
    first.listed.logprobs[1] = ABSENT
    chosen, rows = objective(ListedTokens(Aligner(TOKENIZER)), 1.0), [first, replace(second, listed=None)]
    found = terms(chosen, rows)
    assert found["logits"] == pytest.approx(float(NLL[0]), rel=1e-4)
    assert found["response"] == pytest.approx(float(NLL[1:].sum()), rel=1e-4)
    assert chosen.items(Collator(PAD)(rows)) == {"response": len(ANSWERS), "logits": 1}


def hosted(model: Any) -> HostedTeacher:
    return HostedTeacher(model, TOKENIZER, TOKENIZER, TASK)


def asked(rows: list[Example], *before: int) -> list[Example]:
    """The rows with the teacher's own question: the student's after some more tokens."""
    return [replace(row, asked=(*before, *row.prompt)) for row in rows]


class Certain(HostedTeacher):
    """Knows the answers."""

    def tell(self, batch: Any) -> torch.Tensor:
        found: torch.Tensor = batch["answer_tokens"]
        return found

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return 1e4 * torch.nn.functional.one_hot(states, VOCABULARY).float()


def test_a_hosted_teacher_that_is_certain_teaches_exactly_cross_entropy() -> None:
    signal = WholeDistribution(Certain(STUDENT, TOKENIZER, TOKENIZER, TASK), "forward_kl", 1.0)
    assert terms(objective(signal, 1.0))["logits"] == pytest.approx(float(NLL.sum()), rel=1e-4)


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(divergence: str) -> None:
    signal = WholeDistribution(hosted(STUDENT), divergence, 2.0)
    assert terms(objective(signal, 1.0), asked(ROWS))["logits"] == pytest.approx(0, abs=1e-2)


def test_a_hosted_teacher_answers_its_own_question() -> None:
    teacher = shaken(1)
    found = terms(objective(WholeDistribution(hosted(teacher), "forward_kl", 2.0), 1.0), asked(ROWS, 30, 31, 32))
    theirs = predictions(teacher, [replace(row, prompt=[30, 31, 32, *row.prompt]) for row in ROWS])
    expected = float(forward_kl(predictions(STUDENT), theirs, 2.0).sum())
    assert found["logits"] == pytest.approx(expected, rel=1e-3)


def test_a_hosted_teachers_layers_run_once_for_each_row() -> None:
    teacher = hosted(shaken(1))
    runs = []
    model: Any = teacher.model
    hook = (
        model.get_decoder().layers[0].register_forward_hook(lambda _, __, states: runs.append(states.shape[:2].numel()))
    )
    first = teacher.tell(Collator(PAD)(asked(ROWS)))
    again = teacher.tell(Collator(PAD)(asked(ROWS)[::-1]))
    assert len(runs) == 1
    teacher.kept.pop(0)
    torch.testing.assert_close(teacher.tell(Collator(PAD)(asked(ROWS))), first)
    hook.remove()
    assert runs[1] == len(ROWS[0]) - 1 < runs[0]  # of a batch, what is not known alone
    torch.testing.assert_close(torch.cat([again[4:], again[:4]]), first)


def test_only_so_many_hidden_states_are_kept() -> None:
    teacher = hosted(shaken(1))
    teacher.room = 4 * 32 * 5  # five tokens' of float32
    batch = Collator(PAD)(asked(ROWS))
    first = teacher.tell(batch)
    assert list(teacher.kept) == [0]
    torch.testing.assert_close(teacher.tell(batch), first)


def test_signals_are_mixed_by_their_shares() -> None:
    labels = LabelProbabilities(TOKENIZER, 1.0)
    listed = ListedTokens(Aligner(TOKENIZER))
    both = Objective((labels, listed), {"response": 0.2, "label_logits": 0.3, "logits": 0.5})
    found, rows = terms(both, certain(ROWS)), certain(ROWS)
    assert found["response"] == pytest.approx(0.2 * float(NLL[:2].sum()) + 0.5 * float(NLL[2:].sum()), rel=1e-4)
    assert found["logits"] == pytest.approx(0.5 * float(NLL.sum()), rel=1e-4)
    assert found["label_logits"] == pytest.approx(0.3 * terms(objective(labels, 1.0), rows)["label_logits"], rel=1e-4)


def test_the_shares_grow_during_the_ramp() -> None:
    chosen = objective(ListedTokens(Aligner(TOKENIZER)), 0.8, ramp=0.5)
    whole = float(NLL.sum())
    for progress, share in ((0.0, 0.0), (0.25, 0.4), (0.5, 0.8), (1.0, 0.8)):
        found = terms(chosen, certain(ROWS), progress)
        assert found["logits"] == pytest.approx(share * whole, rel=1e-4, abs=1e-6)
        assert found["response"] == pytest.approx((1 - share) * whole, rel=1e-4)


def test_the_method_decides_which_signals_there_are() -> None:
    def names(given: str, teacher: HostedTeacher | None = None) -> list[type]:
        made = make_objective(parse_distillation(given), TOKENIZER, Aligner(TOKENIZER), teacher)
        return [type(signal) for signal in made.signals]

    assert names("{}") == []
    assert names('{"method": "label_logits"}') == [LabelProbabilities]
    assert names('{"method": "logits"}') == [ListedTokens]
    assert names('{"method": {"label_logits": 1, "logits": 1}}', hosted(STUDENT)) == [
        LabelProbabilities,
        WholeDistribution,
    ]


def test_the_question_is_the_teachers_with_its_examples() -> None:
    task = load_task('{"type": "conversation", "system_prompt": "one"}')
    examples = [Row("a", [{"role": "user", "content": "two"}], "one", "one")]
    teacher = HostedTeacher(STUDENT, TOKENIZER, TOKENIZER, task, examples, 1)
    row = Row("b", [{"role": "user", "content": "two two"}], "one")
    example = Encoder(TOKENIZER, 99, [WholeDistribution(teacher, "jsd", 1.0)]).encode(row)
    assert TOKENIZER.decode(list(example.asked)) == (
        "<|system|>one<|end|><|user|>two<|end|><|assistant|>one<|end|><|user|>two two<|end|><|assistant|>"
    )
    assert TOKENIZER.decode(example.prompt) == "<|user|>two two<|end|><|assistant|>"


def test_other_tokens_or_another_end_of_turn_are_refused_with_the_reason() -> None:
    assert shared_vocabulary(TOKENIZER, TOKENIZER) == len(TOKENIZER)
    with pytest.raises(InvalidInput, match=r"\d+ of the first \d+ tokens differ.*response"):
        shared_vocabulary(TOKENIZER, train_tokenizer(["quite other words"] * 9, 300))
    other = train_tokenizer(["one two"] * 4, 300)
    other.chat_template = other.chat_template.replace("<|end|>", "<|user|>")
    with pytest.raises(InvalidInput, match=r"ends with <\|end\|> for the student and with <\|user\|>"):
        shared_vocabulary(TOKENIZER, other)


def test_special_tokens_after_the_shared_ones_are_no_hindrance() -> None:
    longer = train_tokenizer(["one two"] * 4, 300)
    longer.add_tokens(["<|tool|>"])
    assert shared_vocabulary(longer, TOKENIZER) == shared_vocabulary(TOKENIZER, longer) == len(TOKENIZER)
