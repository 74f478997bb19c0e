"""The student before and after its training: where its weights come from, and its folder at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.chat import end_ids
from shared.errors import ComponentError
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.tasks import Task
from shared.weights import load_model, load_tokenizer
from student_finetune import ranks
from student_finetune.data import Located
from student_finetune.mlflow_format import write_mlflow
from student_finetune.settings import Hyperparameters

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LARGE = 5_000_000
"""Parameters from which bfloat16 is worth its conversions."""


@dataclass
class Student:
    """A model to train; `dtype` is the type its weights are saved in."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype


def from_recipe(recipe: Recipe, rows: Iterable[Located], task: Task, seed: int) -> Student:
    """A student of random weights, its tokenizer trained on the rows' prompts, answers and candidate answers."""
    import torch

    tokenizer = train_tokenizer(_texts(rows, task), recipe.vocab_size)
    model: Any = initial_model(make_config(recipe, tokenizer), seed)
    return Student(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer, torch.float32)


def from_weights(source: str, chosen: Hyperparameters) -> Student:
    """A pretrained student; all weights are trained in float32, or LoRA's beside frozen ones."""
    import torch
    from transformers import AutoConfig

    tokenizer = load_tokenizer(source)
    end_ids(tokenizer)  # refuses a model without a chat template before its weights are read
    # frozen weights need no float32; a CPU multiplies bfloat16 weights slower than it converts float32 ones
    frozen_half = chosen.lora_rank > 0 and torch.cuda.is_available()
    model = _prepared(load_model(source, torch.bfloat16 if frozen_half else torch.float32), chosen)
    return Student(model, tokenizer, AutoConfig.from_pretrained(source).dtype or torch.float32)


def _prepared(model: Any, chosen: Hyperparameters) -> Any:
    """The model with what is not to be trained frozen, LoRA weights added where asked for."""
    layers = list(model.get_decoder().layers)
    trained = range(max(0, len(layers) - (chosen.trained_layers or len(layers))), len(layers))
    if chosen.lora_rank:
        return _with_lora(model, chosen, [layers[index] for index in trained], list(trained))
    if chosen.trained_layers:
        model.requires_grad_(False)
        for index in trained:
            layers[index].requires_grad_(True)
    return model


def _with_lora(model: Any, chosen: Hyperparameters, layers: list[torch.nn.Module], numbers: list[int]) -> Any:
    """LoRA on every linear map of `layers`, the layers with these `numbers`."""
    import torch
    from peft import LoraConfig, get_peft_model

    linear = {
        name.rpartition(".")[2]
        for layer in layers
        for name, module in layer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    torch.manual_seed(chosen.seed)
    lora = LoraConfig(
        r=chosen.lora_rank,
        lora_alpha=chosen.lora_alpha,
        target_modules=sorted(linear),
        layers_to_transform=numbers,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's use of a name that transformers will drop
        return get_peft_model(model, lora)


def merged(model: Any) -> Any:
    """The model with its LoRA weights added into the others; any other model unchanged."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def save(student: Student, folder: Path) -> None:
    """Write weights, tokenizer, chat template, generation settings, and what MLflow needs to load them."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = merged(student.model).to(student.dtype)
    tokenizer = student.tokenizer
    ends = sorted({*end_ids(tokenizer), int(tokenizer.eos_token_id)})
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_mlflow(model, tokenizer, folder)
    except SafetensorError as error:
        raise ComponentError(f"cannot write the weights to {folder}: {error}") from None


@contextmanager
def complete_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder to write into, whose files move into `folder` when the block ends well and vanish when it does not.

    Processes other than the main one get a folder whose files vanish anyway.
    """
    if not ranks.is_main():
        with tempfile.TemporaryDirectory() as nowhere:
            yield Path(nowhere)
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".incomplete"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for file in sorted(partial.iterdir(), key=lambda path: path.name == "training.json"):  # the record last
            if file.is_dir():  # a folder does not replace one that has files
                shutil.rmtree(folder / file.name, ignore_errors=True)
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _texts(rows: Iterable[Located], task: Task) -> Iterator[str]:
    for located in rows:
        row = located.row
        yield from (message["content"] for message in row.prompt)
        yield row.answer or ""
        yield from row.label_logprobs or task.candidates(row.prompt)
