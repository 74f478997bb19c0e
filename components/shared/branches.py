"""Whether several continuations of a prompt may be read in one pass, each masked from the others.

Such a mask says who sees whom in attention over the whole sequence.  Layers that carry a state from token to token know
nothing of it, and it takes the place of the mask by which a sliding window is kept.
"""

from __future__ import annotations

from typing import Any

ATTENTION = {"full_attention", "sliding_attention"}


def stay_apart(model: Any, tokens: int) -> bool:
    """Whether a mask keeps apart what follows a prompt, in sequences of at most so many tokens."""
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    if getattr(model, "_is_stateful", False) or kinds - ATTENTION:
        return False
    window = getattr(config, "sliding_window", None)
    return window is None or kinds == {"full_attention"} or tokens <= window
