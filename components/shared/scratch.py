"""A small Llama made from scratch, with a tokenizer of its own and weights that its seed brings back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import InvalidInput, NotFound, Problem

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 2048
SMALLEST_VOCABULARY = 256 + 2 + len(ROLES)


@dataclass(frozen=True)
class Recipe:
    """The size of a student made from scratch.  The defaults learn to tell a few topics apart in half a minute."""

    hidden_size: int = 128
    num_layers: int = 1
    num_heads: int = 4
    intermediate_size: int = 384
    vocab_size: int = 4096

    def __post_init__(self) -> None:
        problems = [
            Problem("must be a whole number, 1 or more", field=f"recipe.{name}")
            for name, value in vars(self).items()
            if type(value) is not int or value < 1
        ]
        if not problems and self.hidden_size % (2 * self.num_heads):
            # each head's width is rotated in pairs
            problems = [Problem("must be a multiple of twice num_heads", field="recipe.hidden_size")]
        if not problems and self.vocab_size < SMALLEST_VOCABULARY:
            problems = [Problem(f"must be at least {SMALLEST_VOCABULARY}", field="recipe.vocab_size")]
        if problems:
            raise InvalidInput(*problems)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer: no text is unknown to it, and few texts give fewer than `vocab_size` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    wrap: Any = PreTrainedTokenizerFast
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[PAD, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    made: PreTrainedTokenizerBase = wrap(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = TEMPLATE
    return made


def make_config(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The Llama configuration of a recipe; input and output embeddings are one matrix."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def initial_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """Random float32 weights on the CPU, the same for the same configuration and seed."""
    import torch
    from transformers import AutoModelForCausalLM

    factory: Any = AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = factory.from_config(config, dtype=torch.float32).eval()
    return model


def untrained(model_folder: Path) -> PreTrainedModel:
    """The weights that the from-scratch student in `model_folder` had before its training."""
    from transformers import AutoConfig

    record = model_folder / "training.json"
    if not record.is_file():
        raise NotFound(Problem("has no training.json: not a student of student_finetune", str(model_folder)))
    facts = json.loads(record.read_text(encoding="utf-8"))
    if not facts["from_scratch"]:
        raise InvalidInput(Problem("was not made from scratch", str(model_folder)))
    return initial_model(AutoConfig.from_pretrained(model_folder), int(facts["seed"]))
