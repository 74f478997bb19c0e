"""What happens beside the training itself: progress, the choice of the best epoch, checkpoints."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from shared.errors import ComponentError
from shared.progress import Progress
from shared.tracking import Tracker
from student_finetune import ranks
from student_finetune.checkpoints import Checkpoints
from student_finetune.history import History
from student_finetune.packing import unpacked
from student_finetune.state import trained
from student_finetune.validation import Validation

POINTS = 100  # of the loss curve


class Report(TrainerCallback):
    """Counts losses and tokens, prints progress, and stops a run whose loss is not a number."""

    def __init__(self, history: History, tokens_per_epoch: int, tracker: Tracker | None = None) -> None:
        self.history, self.tokens_per_epoch = history, tokens_per_epoch
        self.tracker = tracker or Tracker()
        self.loss, self.tokens = 0.0, 0  # of this process, in the present step

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started = time.monotonic() - self.history.seconds
        self.progress = Progress(state.max_steps, "steps")
        self.progress.done, self.progress.started = self.history.steps, self.started
        self.every = max(1, state.max_steps // POINTS)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.loss, tokens = ranks.total([float(self.loss), self.tokens])
        self.history.trained_tokens += round(tokens)
        if not abs(self.loss) < float("inf"):
            raise ComponentError(
                f"the loss is not a number at step {state.global_step + 1}: lower hyperparameters.learning_rate"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        history = self.history
        history.steps = state.global_step
        history.seen_tokens = round(self.tokens_per_epoch * float(state.epoch or 0))
        history.seconds = time.monotonic() - self.started
        speed = history.seen_tokens / max(history.seconds, 1e-9)
        if history.add_loss(self.loss, self.every):
            self.progress.facts["loss"] = loss = history.loss[-1]["loss"]
            self.tracker.figures({"loss": loss, "tokens_per_s": speed}, state.global_step)
        self.loss, self.tokens = 0.0, 0
        self.progress.advance(tokens_per_s=round(speed))

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.history.validation:
            scores = {name: score for name, score in self.history.validation[-1].items() if name != "epoch"}
            self.tracker.figures({f"validation_{name}": score for name, score in scores.items()}, state.global_step)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.history.close_loss()
        self.progress.print()


class BestEpoch(TrainerCallback):
    """Scores the student after each epoch and keeps the weights of the best; of equals, the later.

    Each process keeps what it holds of the weights itself: all of them, or its shard.
    """

    def __init__(self, validation: Validation, history: History, patience: int | None) -> None:
        self.validation, self.history, self.patience = validation, history, patience
        self.weights: dict[str, torch.Tensor] = {}

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        epoch, name, history = round(float(state.epoch or 0)), self.validation.metric, self.history
        model.eval()
        with unpacked(model):
            score = ranks.from_main(self.validation.score(model))
        history.validation.append({"epoch": epoch, name: round(score, 6)})
        print(f"epoch {epoch}: validation {name} {score:.4f}", flush=True)
        signed = self.validation.sign * score
        history.stale = 0 if history.best is None or signed > history.best else history.stale + 1
        if history.best is None or signed >= history.best:
            history.best, history.best_epoch = signed, epoch
            self.weights = {name: value.to("cpu", copy=True) for name, value in trained(model)}
        if self.patience is not None and history.stale >= self.patience:
            print(f"no better for {history.stale} epochs: training stops", flush=True)
            control.should_training_stop = True

    def restore(self, model: Any) -> None:
        """Give the model the best epoch's weights."""
        with torch.no_grad():
            for name, value in trained(model):
                value.copy_(self.weights[name])

    def save(self, checkpoint: Path) -> None:
        try:
            save_file(self.weights, checkpoint / f"best-{ranks.rank()}.safetensors")
        except SafetensorError as error:
            raise ComponentError(f"cannot write the checkpoint {checkpoint}: {error}") from None

    def load(self, checkpoint: Path) -> None:
        file = checkpoint / f"best-{ranks.rank()}.safetensors"
        self.weights = load_file(file) if file.exists() else {}


class Keeper(TrainerCallback):
    """Has a checkpoint written every so many minutes, and before the run gives in to SIGTERM.

    The end of a step that ends an epoch is not a place for one: the epoch's validation must be in it.
    """

    def __init__(self, checkpoints: Checkpoints, minutes: float | None, history: History, best: BestEpoch | None):
        self.checkpoints, self.minutes, self.history, self.best = checkpoints, minutes, history, best
        self.terminated = False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.saved = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if float(state.epoch or 0) % 1:
            self._consider(control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step < state.max_steps and not control.should_training_stop:
            self._consider(control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if self.best:
            self.best.save(checkpoint)
        stop = ranks.any_of(self.terminated)  # also waits for the others' files
        if ranks.is_main():
            self.checkpoints.complete(checkpoint, self.history)
        self.saved = time.monotonic()
        if stop:
            print(f"stopped at step {state.global_step} of {state.max_steps}: run it again to go on from there")
            raise SystemExit(128 + signal.SIGTERM)

    def _consider(self, control: TrainerControl) -> None:
        due = self.minutes is not None and time.monotonic() - self.saved >= 60 * self.minutes
        if ranks.any_of(self.terminated or due):
            control.should_save = True

    def __enter__(self) -> Keeper:
        """From here SIGTERM asks for a checkpoint; the second one ends the process at once, as before."""
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "before"):
            signal.signal(signal.SIGTERM, self.before)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True
        signal.signal(signal.SIGTERM, self.before)


class Finish:
    """Once begun it lets one SIGTERM pass: what is left to do takes less time than to do all again."""

    def __enter__(self) -> Finish:
        return self

    def begin(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self._pass)

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "before"):
            signal.signal(signal.SIGTERM, self.before)

    def _pass(self, number: int, frame: FrameType | None) -> None:
        print("the training is done: the model is written first", flush=True)
        signal.signal(signal.SIGTERM, self.before)
