"""Rows in one sequence: they do not see each other, and a step is what it is without packing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModelForCausalLM, Gemma2Config, GraniteConfig, LlamaConfig, MambaConfig, Qwen2MoeConfig

from student_finetune.batches import PackedBatches, StepBatches
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.main import main
from student_finetune.packing import is_packed, keeps_apart
from student_finetune.reading import read
from student_finetune.settings import Hyperparameters

Arguments = Callable[..., list[str]]
SIZE: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
}
CONFIGS = [
    LlamaConfig(**SIZE),
    Gemma2Config(**SIZE, head_dim=8, sliding_window=3),
    GraniteConfig(**SIZE),
    Qwen2MoeConfig(
        **SIZE, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8, shared_expert_intermediate_size=8
    ),
]
ROWS = [
    Example([5, 6, 7], [20, 21, 22, 2], ((20,), (30,)), (-0.1, -2.4)),
    Example([8, 9], [23, 24, 2]),
    Example([10] * 6, [25, 26, 27, 28, 2], ((31,), (25,)), (-1.1, -0.4)),
]


def model(config: Any) -> Any:
    torch.manual_seed(0)
    factory: Any = AutoModelForCausalLM
    made = factory.from_config(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4)
    return made.eval()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_packed_rows_are_read_as_they_are_alone(config: Any) -> None:
    found = []
    for packed in (False, True):
        learner, batch = model(config), Collator(0, packed=packed)(ROWS)
        reading = read(learner, batch)
        torch.autograd.backward((reading.logprobs * torch.linspace(1, 2, len(reading.logprobs))).sum())
        gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
        found.append((reading.logprobs[batch["answer_asked"]], reading.logprobs[batch["candidate_asked"]], gradients))
    assert Collator(0, packed=True)(ROWS)["input_ids"].shape == (1, sum(len(row) - 1 for row in ROWS))
    (answers, candidates, gradients), (packed_answers, packed_candidates, packed_gradients) = found
    torch.testing.assert_close(packed_answers, answers, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(packed_candidates, candidates, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_attention_that_keeps_rows_apart_is_known(config: Any) -> None:
    assert keeps_apart(model(config))


def test_layers_that_do_not_keep_rows_apart_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not keeps_apart(model(MambaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=2, state_size=4)))
    monkeypatch.setattr("transformers.masking_utils.find_packed_sequence_indices", lambda _: None)
    assert not keeps_apart(model(CONFIGS[0]))


@given(st.lists(st.integers(2, 300), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_every_row_is_in_one_batch_and_no_batch_is_too_large(
    lengths: list[int], batch_size: int, accumulation: int, world: int
) -> None:
    if batch_size * accumulation < world:
        return
    alone = PackedBatches(lengths, batch_size, accumulation, 5)
    shares = [PackedBatches(lengths, batch_size, accumulation, 5, rank, world) for rank in range(world)]
    for share in (alone, *shares):
        share.set_epoch(1)
    batches = [list(share) for share in shares]
    assert {len(found) for found in batches} == {len(shares[0])}
    assert alone.steps == StepBatches(lengths, batch_size, accumulation, 5).steps
    assert sorted(row for found in batches for batch in found for row in batch) == list(range(len(lengths)))
    assert max(sum(lengths[row] for row in batch) for found in batches for batch in found) <= batch_size * max(lengths)
    for step, passes in ((list(alone)[n * alone.passes :][: alone.passes], n) for n in range(alone.steps)):
        at = slice(passes * shares[0].passes, (passes + 1) * shares[0].passes)
        assert {row for batch in step for row in batch} == {
            row for found in batches for batch in found[at] for row in batch
        }


def test_short_rows_need_fewer_batches_and_come_in_another_order_each_epoch() -> None:
    lengths = [1000, *[40 + number % 50 for number in range(319)]]
    packed = PackedBatches(lengths, 2, 8, 0)
    assert (packed.passes, StepBatches(lengths, 2, 8, 0).passes) == (1, 8)
    first = list(packed)
    packed.set_epoch(1)
    assert list(packed) != first
    assert len(first) == 20


def test_a_packed_training(arguments: Arguments, pretrained: Path, tmp_path: Path, capsys: Any) -> None:
    options = {"num_epochs": 8, "batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 0.02}
    given = {"recipe": None, "student_folder": pretrained, "hyperparameters": options | {"packing": True}}
    main(arguments(**given))
    facts = json.loads((tmp_path / "model" / "training.json").read_text())
    assert facts["packed"]
    assert facts["steps"] == 8 * 3
    assert facts["validation"][facts["best_epoch"] - 1]["accuracy"] == 1.0
    assert "not packed" not in capsys.readouterr().out


def test_several_tokens_of_a_candidate_are_not_packed(arguments: Arguments, tmp_path: Path, capsys: Any) -> None:
    main(arguments(distillation={"method": "label_logits"}, hyperparameters={"num_epochs": 1, "packing": True}))
    assert "rows are not packed: their candidate answers have several tokens" in capsys.readouterr().out
    assert not json.loads((tmp_path / "model" / "training.json").read_text())["packed"]


def test_flash_attention_is_for_half_precision_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses float32, in which small students are trained."""
    asked: list[str] = []
    learner, chosen = model(CONFIGS[0]), Hyperparameters(learning_rate=0.01, batch_size=4, num_epochs=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(type(learner), "set_attn_implementation", lambda self, name: asked.append(name))
    assert not is_packed([learner], ROWS[1:2], chosen, half=False)
    assert asked == []
    assert not is_packed([learner], ROWS[1:2], chosen, half=True)
    assert asked == ["flash_attention_2"]


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[2]], ids=lambda config: config.model_type)
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]], ids=["several", "one"])
def test_flash_attention_is_told_where_rows_begin(
    config: Any, rows: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but its kernel is transformers' own code; in the kernel's place, attention over each sequence by itself."""
    learner, chosen = model(deepcopy(config)), Hyperparameters(learning_rate=0.01, batch_size=4, num_epochs=1)
    apart = Collator(0, packed=False)(rows)
    expected = read(learner, apart).logprobs[apart["answer_asked"]]
    flash = sys.modules["transformers.modeling_flash_attention_utils"]
    monkeypatch.setattr(flash, "_loaded_implementation", None)
    monkeypatch.setattr(flash, "_lazy_imports", lambda *_, **__: (whole_rows, sequences, None, None, None))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        type(learner), "set_attn_implementation", lambda self, name: setattr(self.config, "_attn_implementation", name)
    )
    assert is_packed([learner], rows, chosen, half=True)
    assert learner.config._attn_implementation == "flash_attention_2"
    packed = Collator(0, packed=True)(rows)
    torch.testing.assert_close(read(learner, packed).logprobs[packed["answer_asked"]], expected, rtol=1e-4, atol=1e-5)


def whole_rows(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, softmax_scale: float) -> torch.Tensor:
    """Of [rows, tokens, heads, size]."""
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    found = functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=softmax_scale, enable_gqa=True)
    return found.transpose(1, 2)


def sequences(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    causal: bool,
    softmax_scale: float,
) -> torch.Tensor:
    """Of [tokens, heads, size], cut at the given places."""
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    bounds = cu_seqlens_q.tolist()
    spans = [slice(first, last) for first, last in pairwise(bounds)]
    return torch.cat([whole_rows(q[None, s], k[None, s], v[None, s], causal, softmax_scale)[0] for s in spans])


def test_an_attention_that_the_gpu_cannot_compute_keeps_no_rows_apart(capsys: pytest.CaptureFixture[str]) -> None:
    learner = model(CONFIGS[0])

    def refuse(*_: Any) -> None:
        raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.")

    learner.get_decoder().layers[0].self_attn.register_forward_pre_hook(refuse)
    assert not keeps_apart(learner.train())
    assert "only supports Ampere" in capsys.readouterr().out
    assert learner.training
