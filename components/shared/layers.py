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


def layers_of(model: Any) -> Any:
    """The layers that a token goes through; raises InvalidInput where the model does not keep them in one list."""
    layers = getattr(model.get_decoder(), "layers", None)
    if layers is None:
        raise InvalidInput(f"students like {model.config.model_type} are not supported: no list of decoder layers")
    return layers


def keep_layers(model: Any, numbers: list[int]) -> Any:
    """Give up the other layers of `model`, in place; those kept are numbered anew.

    Raises InvalidInput where its configuration cannot say which layers are left, as when they are not alike.
    """
    from torch.nn import ModuleList

    decoder = model.get_decoder()
    before = len(layers_of(model))
    decoder.layers = ModuleList(decoder.layers[number] for number in numbers)
    for place, layer in enumerate(decoder.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # by which a layer finds its own part of the cache
                module.layer_idx = place
    config = model.config.get_text_config(decoder=True)
    for name, value in vars(config).items():
        if isinstance(value, list) and len(value) == before:  # layer_types and the like
            setattr(config, name, [value[number] for number in numbers])
    config.num_hidden_layers = len(numbers)
    _check(model)
    return model


def _check(model: Any) -> None:
    """Whether its configuration makes the same model again."""
    import torch

    with torch.device("meta"):
        again = type(model)(model.config)
    if {name for name, _ in again.named_parameters()} != {name for name, _ in model.named_parameters()}:
        message = f"layers of a model like {model.config.model_type} cannot be left out: they are not alike"
        raise InvalidInput(Problem(message, field="hyperparameters.keep_layers"))
