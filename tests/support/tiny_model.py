"""A tiny model folder that loads like any other: a Llama made from scratch, not trained."""

from __future__ import annotations

from pathlib import Path

from shared.scratch import Recipe, initial_model, make_config, train_tokenizer


def write_tiny_model(folder: Path, texts: list[str]) -> Path:
    """Save a Llama of some thousand parameters with a tokenizer trained on `texts`; returns `folder`."""
    recipe = Recipe(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, vocab_size=300)
    tokenizer = train_tokenizer(texts, recipe.vocab_size)
    initial_model(make_config(recipe, tokenizer), seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
