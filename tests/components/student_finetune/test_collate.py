from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.labels import label_logprobs
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.losses import ABSENT, candidate_logprobs
from student_finetune.reading import read

TOKENIZER = train_tokenizer(["one two"] * 4, 300)
PAD, END = int(TOKENIZER.pad_token_id), int(TOKENIZER.eos_token_id)
MODEL: Any = initial_model(
    make_config(Recipe(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48, vocab_size=300), TOKENIZER), 0
)
with torch.no_grad():  # weights as drawn are too small for a position or a mask to change anything
    for parameter in MODEL.parameters():
        parameter.mul_(8 if parameter.dim() > 1 else 1)

token = st.integers(6, len(TOKENIZER) - 1)
tokens = st.lists(token, min_size=1, max_size=8)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    candidates = draw(st.one_of(st.just([]), st.lists(tokens, min_size=2, max_size=4)))
    teacher = tuple(-float(number + 1) for number in range(len(candidates)))
    return Example(draw(tokens), [*draw(tokens), END], tuple(map(tuple, candidates)), teacher)


def logprobs_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return read(MODEL, batch).logprobs


@given(st.lists(examples(), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_one_forward_gives_what_separate_ones_give(rows: list[Example]) -> None:
    batch = Collator(PAD)(rows)
    assert len(batch["kept"]) == len(set(batch["kept"].tolist()))
    assert batch["asked_at"].tolist() == sorted(batch["asked_at"].tolist())
    logprobs = logprobs_of(batch)
    found = logprobs[batch["answer_asked"]]
    expected = []
    for row in rows:
        with torch.inference_mode():
            alone = MODEL(torch.tensor([row.prompt + row.answer])).logits[0].log_softmax(-1)
        expected += [alone[len(row.prompt) - 1 + i, t] for i, t in enumerate(row.answer)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-3)

    labelled = [row for row in rows if row.teacher]
    if labelled:
        shape = (batch["teacher"].shape[0], batch["teacher"].shape[1])
        student = candidate_logprobs(logprobs[batch["candidate_asked"]], batch["candidate_cells"], shape)
        for index, row in enumerate(labelled):
            with torch.inference_mode():
                scored = label_logprobs(MODEL, [row.prompt], [list(c) for c in row.candidates], PAD)[0]
            torch.testing.assert_close(student[index, : len(scored)], scored, rtol=1e-4, atol=1e-3)
            assert batch["teacher"][index].tolist() == [*row.teacher, *[ABSENT] * (shape[1] - len(scored))]


@given(st.lists(examples(), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_exactly_the_answer_and_its_end_are_trained(rows: list[Example]) -> None:
    batch = Collator(PAD)(rows)
    assert batch["answer_tokens"].tolist() == [token for row in rows for token in row.answer]
    assert batch["answer_tokens"].tolist().count(END) == len(rows)
    width = batch["input_ids"].shape[1]
    at = batch["kept"][: len(batch["answer_tokens"])].tolist()
    assert at == [i * width + len(r.prompt) - 1 + p for i, r in enumerate(rows) for p in range(len(r.answer))]
    assert batch["answer_lengths"].tolist() == [len(row.answer) for row in rows]
    assert batch["answer_labelled"].sum() == sum(len(row.answer) for row in rows if row.teacher)


def test_single_token_labels_need_no_mask_and_no_further_token() -> None:
    batch = Collator(PAD)([Example([7, 8], [9, END], ((9,), (10,)), (-0.1, -3.0)), Example([7], [10, END])])
    assert batch["input_ids"].tolist() == [[7, 8, 9], [7, 10, PAD]]
    assert "attention_mask" not in batch


def test_unused_positions_cost_no_output_layer() -> None:
    seen = []
    hook = MODEL.get_output_embeddings().register_forward_hook(lambda layer, inputs, output: seen.append(output.shape))
    logprobs_of(Collator(PAD)([Example([7] * 30, [9, END]), Example([8] * 5, [9, 9, END])]))
    hook.remove()
    assert sum(shape[1] for shape in seen) == 5
