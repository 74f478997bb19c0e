"""The training run: transformers' Trainer with this component's loss, checkpoint choice and progress lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from shared.errors import ComponentError
from shared.progress import Progress
from shared.weights import fast_dtype
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.settings import Hyperparameters
from student_finetune.signals import Objective
from student_finetune.students import LARGE, Student
from student_finetune.validation import Validation


@dataclass
class History:
    """What happened, for training.json."""

    steps: int = 0
    trained_tokens: int = 0
    seen_tokens: int = 0
    seconds: float = 0.0
    loss: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0


class DistillationTrainer(Trainer):
    """`Trainer` whose loss is a sum of terms, each divided by its items in the whole optimiser step."""

    loss_is_scaled_for_ga = True

    def __init__(self, objective: Objective, history: History, **options: Any) -> None:
        super().__init__(**options)
        self.objective: Objective = objective
        self.history: History = history

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = [self.objective.items(batch) for batch in batches]
        return batches, {name: sum(count[name] for count in counts) for name in counts[0]} if counts else {}

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        terms = self.objective.terms(model, inputs, self.state.global_step / max(1, self.state.max_steps))
        loss = torch.stack([term / max(1, num_items_in_batch[name]) for name, term in terms.items()]).sum()
        if not torch.isfinite(loss):
            raise ComponentError(
                f"the loss is not a number at step {self.state.global_step + 1}: lower hyperparameters.learning_rate"
            )
        self.history.trained_tokens += len(inputs["answer_tokens"])
        return loss

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int]:
        # rows of like length share a batch, so little of it is padding
        window = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(window, lengths=[len(example) for example in self.train_dataset])  # type: ignore


class Report(TrainerCallback):
    """Progress lines, and the losses for the record."""

    def __init__(self, history: History, tokens_per_epoch: int) -> None:
        self.history, self.tokens_per_epoch = history, tokens_per_epoch

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started = time.monotonic()
        self.progress = Progress(state.max_steps, "steps")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.history.steps = state.global_step
        self.history.seen_tokens = round(self.tokens_per_epoch * float(state.epoch or 0))
        self.history.seconds = time.monotonic() - self.started
        self.progress.advance(tokens_per_s=round(self.history.seen_tokens / max(self.history.seconds, 1e-9)))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.history.loss.append({"step": state.global_step, "loss": round(logs["loss"], 5)})
            self.progress.facts["loss"] = logs["loss"]

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress.print()


class BestEpoch(TrainerCallback):
    """Scores the student after each epoch and keeps the weights of the best; of equals, the later."""

    def __init__(self, validation: Validation, history: History, patience: int | None) -> None:
        self.validation, self.history, self.patience = validation, history, patience
        self.best: float | None = None
        self.stale = 0
        self.weights: dict[str, torch.Tensor] = {}

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        epoch, name = round(float(state.epoch or 0)), self.validation.metric
        model.eval()
        score = self.validation.score(model)
        self.history.validation.append({"epoch": epoch, name: round(score, 6)})
        print(f"epoch {epoch}: validation {name} {score:.4f}", flush=True)
        signed = self.validation.sign * score
        self.stale = 0 if self.best is None or signed > self.best else self.stale + 1
        if self.best is None or signed >= self.best:
            self.best, self.history.best_epoch = signed, epoch
            self.weights = {k: p.detach().to("cpu", copy=True) for k, p in _trained(model)}
        if self.patience is not None and self.stale >= self.patience:
            print(f"no better for {self.stale} epochs: training stops", flush=True)
            control.should_training_stop = True

    def restore(self, model: Any) -> None:
        """Give the model the best epoch's weights."""
        with torch.no_grad():
            for name, parameter in _trained(model):
                parameter.copy_(self.weights[name])


def train(
    student: Student,
    examples: Sequence[Example],
    objective: Objective,
    chosen: Hyperparameters,
    validation: Validation | None,
    scratch: Path,
) -> History:
    """Train `student.model` in place and leave it with its best epoch's weights."""
    history = History()
    best = BestEpoch(validation, history, chosen.patience) if validation else None
    callbacks: list[TrainerCallback] = [Report(history, sum(map(len, examples)))]
    trainer = DistillationTrainer(
        objective,
        history,
        model=student.model,
        args=training_arguments(student, len(examples), chosen, scratch),
        train_dataset=examples,
        data_collator=Collator(int(student.tokenizer.pad_token_id), next(student.model.parameters()).dtype),
        callbacks=callbacks + ([best] if best else []),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    if best:
        best.restore(student.model)
    else:
        history.best_epoch = chosen.num_epochs
    student.model.train(False)
    return history


def training_arguments(student: Student, rows: int, chosen: Hyperparameters, scratch: Path) -> TrainingArguments:
    steps = -(-rows // (chosen.batch_size * chosen.gradient_accumulation_steps)) * chosen.num_epochs
    parameters = sum(parameter.numel() for parameter in student.model.parameters())
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=chosen.batch_size,
        gradient_accumulation_steps=chosen.gradient_accumulation_steps,
        num_train_epochs=chosen.num_epochs,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=chosen.warmup_ratio,
        weight_decay=chosen.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        seed=chosen.seed,
        bf16=parameters > LARGE and fast_dtype() is torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=max(1, steps // 100),
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one process drives one device; DataParallel is not used
    return arguments


def _trained(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
