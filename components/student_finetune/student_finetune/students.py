"""The student before and after its training: where its weights come from, and its folder at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.chat import end_ids
from shared.errors import ComponentError, InvalidInput, Problem
from shared.layers import evenly_spaced, keep_layers, layers_of
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.tasks import Task
from shared.weights import fast_dtype, load_model, load_tokenizer
from student_finetune import ranks
from student_finetune.data import Located
from student_finetune.mlflow_format import write_mlflow
from student_finetune.settings import Hyperparameters

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

LARGE = 5_000_000
"""Parameters from which bfloat16 is worth its conversions."""


@dataclass
class Student:
    """A model to train; `dtype` is the type its weights are saved in, `source` where a pretrained one is from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    source: str | None = None
    kept_layers: list[int] | None = None


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

    if chosen.quantization and not find_spec("bitsandbytes"):
        message, field = "4bit needs the package bitsandbytes", "hyperparameters.quantization"
        hint = "pip install bitsandbytes; or leave it out, and the frozen weights keep their own type"
        raise InvalidInput(Problem(message, field=field, hint=hint))
    tokenizer = load_tokenizer(source)
    end_ids(tokenizer)  # refuses a model without a chat template before its weights are read
    # frozen weights need no float32; a CPU multiplies bfloat16 weights slower than it converts float32 ones
    frozen_half = chosen.lora_rank > 0 and torch.cuda.is_available() and fast_dtype() is torch.bfloat16
    dtype = torch.bfloat16 if frozen_half else torch.float32
    if chosen.quantization:
        model: Any = _load_in_four_bits(source, dtype)
    else:
        # what may be cut up among several GPUs is not put on one of them first
        model = load_model(source, dtype, "cpu" if ranks.world() > 1 else None)
    _check_vocabulary(model, tokenizer)
    numbers = evenly_spaced(len(layers_of(model)), chosen.keep_layers) if chosen.keep_layers else None
    if numbers:
        keep_layers(model, numbers)
    stored = AutoConfig.from_pretrained(source).dtype or torch.float32
    return Student(_prepared(model, chosen), tokenizer, stored, source, numbers)


def _check_vocabulary(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises InvalidInput where the model lacks a token that it is to write; one that only pads is replaced."""
    known = int(model.get_input_embeddings().num_embeddings)
    needed = max(*end_ids(tokenizer), int(tokenizer.eos_token_id))
    if needed >= known:
        raise InvalidInput(f"the tokenizer's end of turn is token {needed}, the model has {known} tokens")
    if int(tokenizer.pad_token_id) >= known:
        tokenizer.pad_token = tokenizer.eos_token


def _load_in_four_bits(source: str, dtype: torch.dtype) -> Any:
    """QLoRA's way of keeping frozen weights (Dettmers et al., arXiv 2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    config: Any = BitsAndBytesConfig
    four_bits = config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=fast_dtype(),
    )
    place = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
    model: Any = load_model(source, dtype, quantization_config=four_bits, device_map=place)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # or the first validation on a CPU would pack the weights anew, for good, and they would give no gradient
            module.support_avx512bf16_for_cpu = False
    return model


def _prepared(model: Any, chosen: Hyperparameters) -> Any:
    """The model with what is not to be trained frozen, LoRA weights added where asked for."""
    if chosen.quantization:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # `train` sees to that
    layers = list(layers_of(model))
    text = {id(weight) for part in (model.get_decoder(), model.get_output_embeddings()) for weight in part.parameters()}
    for weight in model.parameters():  # what sees pictures learns nothing from text
        weight.requires_grad_(weight.requires_grad and id(weight) in text)
    trained = range(max(0, len(layers) - (chosen.trained_layers or len(layers))), len(layers))
    if chosen.lora_rank:
        return _with_lora(model, chosen, [layers[index] for index in trained], list(trained))
    if chosen.trained_layers:
        model.requires_grad_(False)
        for index in trained:
            layers[index].requires_grad_(True)
    return model


def _with_lora(model: Any, chosen: Hyperparameters, layers: list[torch.nn.Module], numbers: list[int]) -> Any:
    """LoRA on every linear map of `layers`, the layers with these `numbers`, or on those named `target_modules`."""
    import torch
    from peft import LoraConfig, get_peft_model

    linear = {
        name.rpartition(".")[2]
        for layer in layers
        for name, module in layer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    if not linear:
        message = "the model has no linear maps for LoRA; 0 trains the weights themselves"
        raise InvalidInput(Problem(message, field="hyperparameters.lora_rank"))
    unknown = sorted(set(chosen.target_modules or ()) - linear)
    if unknown:
        message = f"the model has no {', '.join(unknown)}; its linear maps are {', '.join(sorted(linear))}"
        raise InvalidInput(Problem(message, field="hyperparameters.target_modules"))
    targets = sorted(chosen.target_modules or linear)
    within = {id(module) for module in model.get_decoder().modules()}
    elsewhere = [  # in what sees pictures
        name
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in targets and id(module) not in within
    ]
    torch.manual_seed(chosen.seed)
    lora = LoraConfig(
        r=chosen.lora_rank,
        lora_alpha=chosen.lora_alpha,
        target_modules=targets,
        layers_to_transform=numbers,
        exclude_modules=elsewhere or None,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's use of a name that transformers will drop
        return get_peft_model(model, lora)


def merged(model: Any) -> Any:
    """The model with its LoRA weights added into the others; any other model unchanged."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def unquantized(student: Student, chosen: Hyperparameters) -> Any:
    """The same LoRA weights on frozen weights of the stored type: added to four bits they would be rounded away."""
    import torch

    weights = {name: value.detach().cpu() for name, value in student.model.named_parameters() if value.requires_grad}
    model: Any = load_model(str(student.source), student.dtype, "cpu")
    if student.kept_layers:
        keep_layers(model, student.kept_layers)
    model = _prepared(model, replace(chosen, quantization=None))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(weights[name])
    return model


def save(student: Student, folder: Path, chosen: Hyperparameters) -> int:
    """Write weights, tokenizer, chat template, generation settings, and what MLflow needs to load them.

    Returns the number of parameters.  With `keep_adapter` LoRA's weights also lie in `adapter/`, apart from those they
    belong to.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = student.tokenizer
    whole = unquantized(student, chosen) if chosen.quantization else student.model
    try:
        if chosen.keep_adapter:
            whole.save_pretrained(folder / "adapter")
        model = merged(whole).to(student.dtype)
        ends = sorted({*end_ids(tokenizer), int(tokenizer.eos_token_id)})
        model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        _drop_unused_sampling(model.generation_config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_mlflow(model, tokenizer, folder)
    except SafetensorError as error:
        raise ComponentError(f"cannot write the weights to {folder}: {error}") from None
    return sum(parameter.numel() for parameter in model.parameters())


def _drop_unused_sampling(generation: GenerationConfig) -> None:
    """Settings of a sampling that is switched off: transformers reads them with a warning and refuses to write them."""
    if not generation.do_sample:
        for name in ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"):
            setattr(generation, name, None)


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
