"""Reading a batch a piece at a time gives what reading it whole gives, and holds less."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig, Qwen2MoeConfig

from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.reading import OutputLayer, hidden_states, read

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
    LlamaConfig(**SIZE, tie_word_embeddings=True),
    Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=0.7),
    GraniteConfig(**SIZE, logits_scaling=3.0),
    CohereConfig(**SIZE, logit_scale=0.3),
    Qwen2MoeConfig(
        **SIZE, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8, shared_expert_intermediate_size=8
    ),
]
ROWS = [
    Example([5, 6, 7], [20, 21, 22, 2], ((20,), (30, 31)), (-0.1, -2.4)),
    Example([8, 9], [23, 24, 2]),
    Example([10] * 6, [25, 26, 27, 28, 2]),
]


def model(config: Any) -> Any:
    torch.manual_seed(0)
    factory: Any = AutoModelForCausalLM
    made = factory.from_config(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made.eval()


def gradients(learner: Any, piece: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    learner.zero_grad()
    batch = Collator(0)(ROWS)
    own = {"largest": lambda logits, states, where: logits.logsumexp(-1)}
    reading = read(learner, batch, own, piece)
    weights = torch.linspace(1, 2, len(reading.logprobs))
    torch.autograd.backward((weights * reading.logprobs).sum() + reading.probed["largest"].square().sum())
    found = {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}
    return reading.logprobs.detach(), reading.probed["largest"].detach(), found


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_pieces_make_the_whole_for_any_architecture(config: Any) -> None:
    learner = model(config)
    batch = Collator(0)(ROWS)
    inputs = {name: batch[name] for name in ("input_ids", "position_ids", "attention_mask")}
    whole = learner(**inputs, use_cache=False).logits.reshape(-1, 60)[batch["kept"]]
    torch.testing.assert_close(OutputLayer(learner)(hidden_states(learner, batch, batch["kept"])), whole)
    expected = whole.float().log_softmax(-1)[batch["asked_at"], batch["asked_tokens"]]
    for piece in (1, 60 * 5, 10**6):
        logprobs, largest, found = gradients(learner, piece)
        torch.testing.assert_close(logprobs, expected.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(largest, whole.float().logsumexp(-1).detach(), rtol=1e-4, atol=1e-5)
        if piece == 1:
            first = found
        assert found.keys() == first.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, first[name], rtol=1e-3, atol=1e-4)


MEMORY = """
import resource, sys, torch
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.losses import forward_kl
from student_finetune.reading import OutputLayer, hidden_states, read

tokens, vocabulary = 1000, 16000
tokenizer = train_tokenizer(["one two"] * 4, 300)
config = make_config(Recipe(16, 1, 2, 16, 300), tokenizer)
config.vocab_size, config.max_position_embeddings = vocabulary, 600
student, teacher = initial_model(config, 0), initial_model(config, 1)
row = Example([7] * 4, list(range(10, 10 + tokens // 8)))

def step(rows, piece):
    batch = Collator(0)(rows)
    with torch.no_grad():
        states = hidden_states(teacher, batch, batch["kept"])
        layer = OutputLayer(teacher)
    def differ(logits, _, where):
        with torch.no_grad():
            own = layer(states[where]).float()
        return forward_kl(logits, own, 1.0)
    reading = read(student, batch, {"logits": differ}, piece)
    (reading.probed["logits"].sum() - reading.logprobs.sum()).backward()

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

step([Example([7] * 4, [8, 9])], vocabulary)  # what torch loads and keeps with its first step
before = peak()
step([row] * 8, tokens * vocabulary // 10)
print((peak() - before) / (4 * tokens * vocabulary))
"""


def test_no_two_tensors_of_tokens_by_vocabulary_are_ever_held() -> None:
    # the allocator gives memory back at once, so the peak is that of what is held
    settings = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"}
    settings["PYTHONPATH"] = ":".join(sys.path)
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1, "the peak, in float32 tensors of [tokens, vocabulary]"
