"""The training run: transformers' Trainer with this component's loss, batches and checkpoints."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback

from shared.branches import stay_apart
from shared.errors import ComponentError, Problem
from shared.tracking import Tracker
from shared.weights import fast_dtype
from student_finetune import ranks
from student_finetune.batches import PackedBatches, StepBatches
from student_finetune.callbacks import BestEpoch, Keeper, Report
from student_finetune.checkpoints import Checkpoints, read_history
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.history import History
from student_finetune.packing import is_packed
from student_finetune.settings import Hyperparameters
from student_finetune.sharding import gather, is_sharded, is_worthwhile, shard
from student_finetune.signals import Objective, WholeDistribution
from student_finetune.state import load_optimizer, load_random, load_weights, save_state, trained
from student_finetune.students import LARGE, Student
from student_finetune.trunk import Trunk
from student_finetune.validation import Validation

Batches = StepBatches | PackedBatches

HUGE = 1_000_000_000
"""Parameters from which memory counts for more than time on a GPU: activations are then computed again."""

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

    def __init__(
        self, objective: Objective, report: Report, batches: Batches, trunk: Trunk | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.objective: Objective = objective
        self.trunk: Trunk | None = trunk
        self.report: Report = report
        self.batches: Batches = batches
        self.add_callback(report)
        self.remove_callback(PrinterCallback)
        if is_sharded(self.model):  # accelerate would wrap it for data parallelism, and shards on GPUs only
            self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)

    def get_train_dataloader(self) -> Loader:
        shortest = min(self.train_dataset, key=len)  # type: ignore[arg-type]
        collate: Any = self.data_collator

        def laid_out(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
            batch: dict[str, torch.Tensor] = collate(examples or [shortest])
            return batch if examples else batch | {FILLER: torch.ones(1)}

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
        counts = [self.objective.items(batch) for batch in batches if FILLER not in batch]
        names = sorted(self.objective.items(batches[0]))
        found = ranks.total([sum(count[name] for count in counts) for name in names])
        return batches, dict(zip(names, found, strict=True))

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        with self.trunk.reads(inputs) if self.trunk else contextlib.nullcontext():
            terms = self.objective.terms(model, inputs, self.state.global_step / max(1, self.state.max_steps))
        teaches = FILLER not in inputs
        shares = [term / max(num_items_in_batch[name], 1) for name, term in terms.items()]
        loss = torch.stack(shares).sum() * teaches
        self.report.loss += loss.detach()  # type: ignore[assignment]
        self.report.tokens += len(inputs["answer_tokens"]) * teaches
        return loss * ranks.world()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_state(folder, model, self.optimizer, self.lr_scheduler)
            if ranks.is_main():
                self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
        except (OSError, RuntimeError) as error:  # torch says RuntimeError when a disk is full
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
            raise ComponentError(f"cannot write the checkpoint {folder}: {reason}") from None

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(Path(resume_from_checkpoint), model or self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint:
            load_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint:
            load_random(Path(checkpoint))


def train(
    student: Student,
    examples: Sequence[Example],
    objective: Objective,
    chosen: Hyperparameters,
    validation: Validation | None,
    scratch: Path,
    checkpoints: Checkpoints | None = None,
    tracker: Tracker | None = None,
) -> History:
    """Train `student.model` in place and leave it with its best epoch's weights.

    With `checkpoints` it goes on from the last one, if any, and leaves one when it is stopped by SIGTERM.
    """
    latest = checkpoints.latest() if checkpoints else None
    history = read_history(latest) if latest else History()
    best = BestEpoch(validation, history, chosen.patience) if validation else None
    keeper = Keeper(checkpoints, chosen.checkpoint_minutes, history, best) if checkpoints else None
    half, model = _is_half(student), student.model
    history.precision = "bfloat16" if half else "float32"
    history.sharded = _placed(model, chosen, half)
    history.packed = _made_ready(model, objective, examples, chosen, half)
    history.recomputed = _recomputes(model, chosen)
    batches = _batches([len(example) for example in examples], chosen, packed=history.packed)
    masked = _is_masked(model, examples)
    trainer = DistillationTrainer(
        objective,
        Report(history, sum(map(len, examples)), tracker),
        batches,
        Trunk.of(model, examples, chosen.num_epochs) if masked and not history.packed else None,
        model=model,
        args=training_arguments(half, batches, chosen, checkpoints.own if checkpoints else scratch),
        train_dataset=examples,
        data_collator=Collator(int(student.tokenizer.pad_token_id), model.dtype, packed=history.packed, masked=masked),
        callbacks=[callback for callback in (best, keeper) if callback],  # the checkpoint has the epoch's score in it
    )
    if latest:
        print(f"going on from step {history.steps}", flush=True)
        history.resumed_at.append(history.steps)
        if best:
            best.load(latest)
    with keeper or contextlib.nullcontext(), _enough_memory():
        trainer.train(resume_from_checkpoint=str(latest) if latest else None)
        if best:
            best.restore(model)
        else:
            history.best_epoch = chosen.num_epochs
        check_finite(model)
        model.train(False)
        if is_sharded(model):
            gather(model)
    return history


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    """Says what to do when the GPU's memory is too small."""
    try:
        yield
    except torch.OutOfMemoryError:
        hint = (
            "halve batch_size and double gradient_accumulation_steps, which trains the same; or gradient_checkpointing"
        )
        raise ComponentError(Problem("the GPU's memory is too small", field="hyperparameters", hint=hint)) from None


def check_finite(model: Any) -> None:
    """Raises ComponentError when the last step has left weights that are no numbers: its loss cannot show that."""
    if not all(bool(value.isfinite().all()) for _, value in trained(model)):
        raise ComponentError("the weights are not numbers after the last step: lower hyperparameters.learning_rate")


def _recomputes(model: Any, chosen: Hyperparameters) -> bool:
    """Whether layers are computed again in the backward pass: as the job says, else for a large model on a GPU."""
    wanted = chosen.gradient_checkpointing
    if wanted is None:
        large = sum(parameter.numel() for parameter in model.parameters()) >= HUGE
        wanted = torch.cuda.is_available() and (large or chosen.quantization is not None)
    if wanted:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return wanted


def _is_half(student: Student) -> bool:
    """Whether products are computed in bfloat16."""
    parameters = sum(parameter.numel() for parameter in student.model.parameters())
    return parameters > LARGE and fast_dtype() is torch.bfloat16


def _placed(model: Any, chosen: Hyperparameters, half: bool) -> bool:
    """Whether the model has been cut up among the processes; where there are GPUs, it is on them."""
    if is_worthwhile(model, chosen):
        shard(model, half)
        return True
    if torch.cuda.is_available() and not chosen.quantization:
        model.to("cuda")
    return False


def _made_ready(
    model: Any, objective: Objective, examples: Sequence[Example], chosen: Hyperparameters, half: bool
) -> bool:
    """Whether the student, and the teachers that read beside it, get packed rows."""
    for signal in objective.signals:
        signal.meet(model)
    teachers = [signal.teacher for signal in objective.signals if isinstance(signal, WholeDistribution)]
    # all processes must lay out the same batches
    packed = not ranks.any_of(not is_packed([model, *(teacher.model for teacher in teachers)], examples, chosen, half))
    for teacher in teachers:
        teacher.packed = packed
    return packed


def _is_masked(model: Any, examples: Sequence[Example]) -> bool:
    """Whether a mask can keep the rows' branches apart."""
    lengths = [len(example.prompt) + max(map(len, example.branches)) for example in examples if example.branches]
    return not lengths or stay_apart(model, max(lengths))


def _batches(lengths: Sequence[int], chosen: Hyperparameters, *, packed: bool) -> Batches:
    kind = PackedBatches if packed else StepBatches
    accumulation = chosen.gradient_accumulation_steps
    return kind(lengths, chosen.batch_size, accumulation, chosen.seed, ranks.rank(), ranks.world())


def training_arguments(half: bool, batches: Batches, chosen: Hyperparameters, folder: Path) -> TrainingArguments:
    steps = batches.steps * chosen.num_epochs
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=chosen.batch_size,
        gradient_accumulation_steps=batches.passes,
        num_train_epochs=chosen.num_epochs,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(math.ceil(chosen.warmup_ratio * steps), steps - 1),  # one step at least is at the peak
        weight_decay=chosen.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        seed=chosen.seed,
        bf16=half,
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
