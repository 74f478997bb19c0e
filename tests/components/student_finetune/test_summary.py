"""A teacher that is summed up teaches exactly what its whole distribution teaches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    Phi3Config,
    PhiConfig,
)

from shared.scratch import train_tokenizer
from shared.tasks import load_task
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.hosted import HostedTeacher
from student_finetune.signals import Objective, WholeDistribution
from student_finetune.summary import Summary

TOKENIZER = train_tokenizer(["one two"] * 4, 300)
SIZE: dict[str, Any] = {
    "vocab_size": 304,  # more than the tokens that both have
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
}
CONFIGS = [
    LlamaConfig(**SIZE),
    GraniteConfig(**SIZE, logits_scaling=3.0),
    CohereConfig(**SIZE, logit_scale=0.3),
    PhiConfig(**SIZE),  # its output layer has a bias
    Phi3Config(**SIZE),
]
ROWS = [
    Example([7] * 3, [20, 21, 2], ((20,), (21, 22)), (-0.1, -2.4), asked=(7, 8), number=0),
    Example([8] * 9, [21, 22, 23, 24, 2], asked=(8, 9, 10), number=1),
]


def model(config: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    factory: Any = AutoModelForCausalLM
    made = factory.from_config(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made.eval()


def taught(student: Any, temperature: float, *, summed_up: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients in the second epoch."""
    teacher = HostedTeacher(model(LlamaConfig(**SIZE), 1), TOKENIZER, TOKENIZER, load_task('{"type": "conversation"}'))
    signal = WholeDistribution(teacher, "forward_kl", temperature)
    if summed_up:
        signal.meet(student)
        assert signal.summary
    objective = Objective((signal,), {"response": 0.3, "logits": 0.7})
    batch = Collator(0)(ROWS)
    objective.terms(student, batch)
    assert len(teacher.kept) == 2
    student.zero_grad()
    loss = objective.terms(student, batch)["logits"]
    torch.autograd.backward(loss)
    return loss.detach(), {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_it_is_the_whole_distribution(config: Any, temperature: float) -> None:
    student = model(config, 0)
    student.get_output_embeddings().requires_grad_(False)
    expected, gradients = taught(student, temperature, summed_up=False)
    loss, found = taught(student, temperature, summed_up=True)
    assert float(expected) > 1
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4)


def test_an_output_layer_that_is_trained_or_bent_is_not_summed_up() -> None:
    assert Summary.of(model(LlamaConfig(**SIZE), 0), 300, 1.0) is None
    bent = model(Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=30.0), 0)
    bent.get_output_embeddings().requires_grad_(False)
    assert Summary.of(bent, 300, 1.0) is None
