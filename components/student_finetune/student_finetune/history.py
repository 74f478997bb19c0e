"""What happened in a training so far: the record of the run, and what a checkpoint must bring back of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """Counts, losses and scores, for training.json.

    `loss` has a mean for about every hundredth of the run; `open_loss` and `open_steps` are of the mean in the making.
    `stale` counts the epochs since the best one, `resumed_at` the steps at which the run went on from a checkpoint.
    `precision` is what products are computed in, `sharded` whether the processes share one copy of the student,
    `packed` whether the rows of a batch are one sequence, `recomputed` whether layers are computed again backward.
    """

    steps: int = 0
    trained_tokens: int = 0
    seen_tokens: int = 0
    seconds: float = 0.0
    loss: list[dict[str, float]] = field(default_factory=list)
    open_loss: float = 0.0
    open_steps: int = 0
    validation: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    resumed_at: list[int] = field(default_factory=list)
    precision: str = "float32"
    sharded: bool = False
    packed: bool = False
    recomputed: bool = False

    def add_loss(self, loss: float, every: int) -> bool:
        """Count a step's loss; true when that completed the mean over `every` steps."""
        self.open_loss += loss
        self.open_steps += 1
        if self.open_steps < every:
            return False
        self.close_loss()
        return True

    def close_loss(self) -> None:
        """Put the mean in the making into the list."""
        if self.open_steps:
            self.loss.append({"step": self.steps, "loss": round(self.open_loss / self.open_steps, 5)})
            self.open_loss, self.open_steps = 0.0, 0
