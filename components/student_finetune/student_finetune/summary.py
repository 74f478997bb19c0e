"""What a hosted teacher says, summed up for a student whose output layer stays as it is.

With logits s = W h + b of the student's hidden state h, and the teacher's probabilities p at temperature T,

    T² KL(p ‖ softmax(s / T)) = T² Σ p log p  -  T Σ p s  +  T² logsumexp(s / T)     and     Σ p s = (Wᵀp) · h + Σ p b

so of the whole distribution one vector Wᵀp as long as h, and one number, are enough: for the value and for the gradient
exactly.  They are computed once for each answer token, and the teacher's output layer is not needed again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from student_finetune.losses import cooled
from student_finetune.reading import OutputLayer, piece_of
from student_finetune.sharding import is_sharded

ROWS = 2**14
"""Of a weight in bfloat16, how many are made float32 at a time."""


@dataclass
class Summary:
    """The student's output layer, of the tokens that both models have: `scale` · `weight` [vocabulary, hidden size] and
    `bias` [vocabulary]."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    temperature: float

    @staticmethod
    def of(student: Any, shared: int, temperature: float) -> Summary | None:
        """None for a student whose output layer is trained, in pieces, or not linear."""
        layer = OutputLayer(student)
        weight = layer.model.get_output_embeddings().weight
        if weight.requires_grad or is_sharded(student) or not weight.is_floating_point():
            return None
        # large enough for a cap to be seen
        states = 1000 * torch.randn(2, weight.shape[1], generator=torch.Generator().manual_seed(0)).to(weight)
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            bias = layer(torch.zeros_like(states[:1])).float()
            found, plain = layer(states).float() - bias, (states @ weight.T).float()
        scale = (found * plain).sum() / plain.square().sum()  # what some architectures multiply their logits by
        if not torch.allclose(found, scale * plain, rtol=0, atol=float(0.02 * found.abs().max())):
            return None  # caps bend them
        return Summary(weight[:shared], scale, bias[0, :shared], temperature)

    @torch.no_grad()
    def of_teacher(self, states: torch.Tensor, logits: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The teacher's hidden states [tokens, its hidden size] as (Wᵀp, the rest) [tokens, hidden size + 1]."""
        found, temperature = [], self.temperature
        with torch.autocast(states.device.type, enabled=False):  # p would lose what its tail weighs
            for piece in torch.split(states, piece_of(states.device, len(self.weight))):
                logprobs = cooled(logits(piece)[:, : len(self.weight)], temperature).log_softmax(-1)
                p = logprobs.exp()
                rest = temperature**2 * (p * logprobs).sum(-1) - temperature * p @ self.bias
                parts = zip(torch.split(p, ROWS, 1), torch.split(self.weight, ROWS), strict=True)
                mean = self.scale * torch.stack([part @ rows.float() for part, rows in parts]).sum(0)
                found.append(torch.cat([mean, rest[:, None]], 1))
        return torch.cat(found)

    def difference(self, logits: torch.Tensor, states: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """T² KL(teacher ‖ student) [tokens], of the student's logits and states and what `of_teacher` told of them."""
        temperature = self.temperature
        expected = (states.float() * told[:, :-1]).sum(-1)
        spread = cooled(logits[:, : len(self.weight)], temperature).logsumexp(-1)
        return told[:, -1] - temperature * expected + temperature**2 * spread
