"""The training run: transformers' Trainer with this component's loss, batches and checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from shared.errors import ComponentError
from shared.weights import fast_dtype
from student_finetune import ranks
from student_finetune.batches import StepBatches
from student_finetune.callbacks import BestEpoch, Keeper, Report
from student_finetune.checkpoints import Checkpoints, read_history
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.history import History
from student_finetune.losses import Objective, item_counts
from student_finetune.selected import selected_logits
from student_finetune.settings import Hyperparameters
from student_finetune.students import LARGE, Student
from student_finetune.validation import Validation

FILLER = "filler"
"""Marks a batch that keeps a process in step with the others and teaches nothing."""


class Loader(DataLoader[dict[str, torch.Tensor]]):
    """Batches of one process; Trainer says which epoch they are of."""

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


class DistillationTrainer(Trainer):
    """`Trainer` whose loss is a sum of terms, each divided by its items in the whole optimiser step.

    Whole means all batches of all processes.  Torch takes the mean of the processes' gradients, so each process
    multiplies its loss by their number.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, objective: Objective, report: Report, batches: StepBatches, **options: Any) -> None:
        super().__init__(**options)
        self.objective, self.report, self.batches = objective, report, batches
        self.add_callback(report)
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> Loader:
        shortest = min(self.train_dataset, key=len)  # type: ignore[arg-type, type-var]
        collate: Any = self.data_collator

        def laid_out(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
            return collate(examples) if examples else collate([shortest]) | {FILLER: torch.ones(1)}

        return Loader(
            self.train_dataset,  # type: ignore[arg-type]
            batch_sampler=self.batches,
            collate_fn=laid_out,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        counts = [item_counts(batch) for batch in batches if FILLER not in batch]
        names = sorted(item_counts(batches[0]))
        found = ranks.total([sum(count[name] for count in counts) for name in names])
        return batches, dict(zip(names, found, strict=True))

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        terms = self.objective.terms(selected_logits(model, inputs), inputs)
        teaches = FILLER not in inputs
        shares = [term / max(num_items_in_batch[name], 1) for name, term in terms.items()]
        loss = torch.stack(shares).sum() * teaches
        self.report.loss += loss.detach()  # type: ignore[assignment]
        self.report.tokens += len(inputs["answer_tokens"]) * teaches
        return loss * ranks.world()

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        try:
            super()._save_checkpoint(*arguments, **options)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch says RuntimeError when a disk is full
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
            raise ComponentError(f"cannot write a checkpoint to {self.args.output_dir}: {reason}") from None


def train(
    student: Student,
    examples: Sequence[Example],
    objective: Objective,
    chosen: Hyperparameters,
    validation: Validation | None,
    scratch: Path,
    checkpoints: Checkpoints | None = None,
) -> History:
    """Train `student.model` in place and leave it with its best epoch's weights.

    With `checkpoints` it goes on from the last one, if any, and leaves one when it is stopped by SIGTERM.
    """
    latest = checkpoints.latest() if checkpoints else None
    history = read_history(latest) if latest else History()
    best = BestEpoch(validation, history, chosen.patience) if validation else None
    keeper = Keeper(checkpoints, chosen.checkpoint_minutes, history, best) if checkpoints else None
    lengths = [len(example) for example in examples]
    accumulation = chosen.gradient_accumulation_steps
    batches = StepBatches(lengths, chosen.batch_size, accumulation, chosen.seed, ranks.rank(), ranks.world())
    trainer = DistillationTrainer(
        objective,
        Report(history, sum(lengths)),
        batches,
        model=student.model,
        args=training_arguments(student, batches, chosen, checkpoints.own if checkpoints else scratch),
        train_dataset=examples,
        data_collator=Collator(int(student.tokenizer.pad_token_id), next(student.model.parameters()).dtype),
        callbacks=[callback for callback in (best, keeper) if callback],  # the checkpoint has the epoch's score in it
    )
    if latest:
        print(f"going on from step {history.steps}", flush=True)
        history.resumed_at.append(history.steps)
        if best:
            best.load(latest)
    with keeper or contextlib.nullcontext():
        trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    if best:
        best.restore(student.model)
    else:
        history.best_epoch = chosen.num_epochs
    student.model.train(False)
    return history


def training_arguments(
    student: Student, batches: StepBatches, chosen: Hyperparameters, folder: Path
) -> TrainingArguments:
    parameters = sum(parameter.numel() for parameter in student.model.parameters())
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=chosen.batch_size,
        gradient_accumulation_steps=batches.passes,
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
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one process drives one device; DataParallel is not used
    return arguments
