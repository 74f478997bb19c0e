"""Labels of several tokens after one prompt, in models of all kinds: each as if it were alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconH1Config,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteMoeHybridConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Qwen3NextConfig,
)

from shared.branches import stay_apart
from shared.labels import label_logprobs
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.losses import candidate_logprobs
from student_finetune.reading import read

SIZE: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
    "initializer_range": 0.3,
}
LINEAR: dict[str, Any] = {f"linear_num_{of}_heads": 2 for of in ("key", "value")} | {
    f"linear_{of}_head_dim": 8 for of in ("key", "value")
}
EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
WINDOW: dict[str, Any] = {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16}
MAMBA: dict[str, Any] = {"mamba_n_heads": 4, "mamba_d_state": 8}
CONFIGS = {
    "llama": LlamaConfig(**SIZE),
    "mistral": MistralConfig(**SIZE, sliding_window=8),
    "mistral, no window": MistralConfig(**SIZE, sliding_window=None),
    "gemma2": Gemma2Config(**SIZE, **WINDOW),
    "gemma3": Gemma3TextConfig(**SIZE | {"num_hidden_layers": 6}, **WINDOW),
    "lfm2": Lfm2Config(**SIZE, layer_types=["conv", "full_attention"] * 2, block_auto_adjust_ff_dim=False),
    "qwen3-next": Qwen3NextConfig(**SIZE, **LINEAR, **EXPERTS, head_dim=16),
    "granite-hybrid": GraniteMoeHybridConfig(
        **SIZE, **MAMBA, layer_types=["mamba", "attention"] * 2, mamba_d_head=16, mamba_n_groups=1,
        num_local_experts=0, num_experts_per_tok=0, shared_intermediate_size=48,
    ),
    "falcon-h1": FalconH1Config(**SIZE, **MAMBA, mamba_d_ssm=32, mamba_d_head=8),
}  # fmt: skip
APART = {"llama", "mistral, no window"}
LABELS = [[7, 8, 9], [10, 11], [12]]
PROMPTS = [[(7 * place + 11 * row) % 90 + 5 for place in range(20 - 3 * row)] for row in range(2)]


def made(name: str) -> Any:
    torch.manual_seed(0)
    factory: Any = AutoModelForCausalLM
    return factory.from_config(CONFIGS[name], dtype=torch.float32).eval()


@torch.no_grad()
def alone(model: Any, prompt: list[int], answer: list[int]) -> list[float]:
    """Log probabilities of an answer's tokens, fed by itself and without a mask."""
    logprobs = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits.log_softmax(-1)[0]
    return [float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(answer)]


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_labels_are_scored_as_if_alone(name: str) -> None:
    model = made(name)
    expected = torch.tensor([[sum(alone(model, prompt, label)) for label in LABELS] for prompt in PROMPTS])
    torch.testing.assert_close(label_logprobs(model, PROMPTS, LABELS, 0), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_answer_and_candidates_are_trained_as_if_alone(name: str) -> None:
    model, answer = made(name), [7, 8, 9, 3]
    rows = [Example(prompt, answer, tuple(map(tuple, LABELS)), (-1.0,) * 3) for prompt in PROMPTS]
    masked = stay_apart(model, 23)
    assert masked == (name in APART)
    batch = Collator(0, masked=masked)(rows)
    found = read(model, batch).logprobs
    candidates = candidate_logprobs(found[batch["candidate_asked"]], batch["candidate_cells"], (2, 3))
    expected = torch.tensor([[sum(alone(model, prompt, label)) for label in LABELS] for prompt in PROMPTS])
    torch.testing.assert_close(candidates, expected, rtol=1e-3, atol=1e-3)
    answers = torch.tensor([alone(model, prompt, answer) for prompt in PROMPTS]).flatten()
    torch.testing.assert_close(found[batch["answer_asked"]], answers, rtol=1e-3, atol=1e-3)


def test_a_window_matters_where_rows_are_longer() -> None:
    for name in ("mistral", "gemma2", "gemma3"):
        assert stay_apart(made(name), 8)
        assert not stay_apart(made(name), 9)
