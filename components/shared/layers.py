"""A shallower copy of a pretrained model: some of its layers, and everything around them."""

from __future__ import annotations

from typing import Any

from shared.errors import InvalidInput, Problem


def evenly_spaced(layers: int, kept: int) -> list[int]:
    """`kept` of so many layers' numbers, the first and the last among them."""
    if not 1 <= kept <= layers:
        message = f"must be at most {layers}, the layers of the model, not {kept}"
        raise InvalidInput(Problem(message, field="hyperparameters.keep_layers"))
    return [round(place * (layers - 1) / max(1, kept - 1)) for place in range(kept)]


def keep_layers(model: Any, numbers: list[int]) -> Any:
    """Give up the other layers of `model`, in place; those kept are numbered anew."""
    from torch.nn import ModuleList

    decoder = model.get_decoder()
    before = len(decoder.layers)
    decoder.layers = ModuleList(decoder.layers[number] for number in numbers)
    for place, layer in enumerate(decoder.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # by which a layer finds its own part of the cache
                module.layer_idx = place
    for name, value in vars(model.config).items():
        if isinstance(value, list) and len(value) == before:  # layer_types and the like
            setattr(model.config, name, [value[number] for number in numbers])
    model.config.num_hidden_layers = len(numbers)
    return model
