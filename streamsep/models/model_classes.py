"""The model classes that a checkpoint or a preset may name, imported only when asked for."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from streamsep.config import from_dict
from streamsep.errors import StreamsepError

# class name -> (module, name of its configuration dataclass)
MODEL_CLASSES: dict[str, tuple[str, str]] = {
    "Bidirectional": ("streamsep.models.bidirectional", "BidirectionalConfig"),
    "CausalBag": ("streamsep.models.causal_bag", "CausalBagConfig"),
    "CausalHTDemucs": ("streamsep.models.causal_htdemucs", "CausalConfig"),
    "HTDemucs": ("streamsep.models.htdemucs", "HTDemucsConfig"),
    "RecurrentHybrid": ("streamsep.models.peers.recurrent_hybrid", "RecurrentHybridConfig"),
}


def build_model(class_name: Any, config: Any, where: str) -> nn.Module:
    """Build the class `class_name` from the plain data `config`, with random weights.

    Args:
        class_name: a key of `MODEL_CLASSES`.
        config: a mapping as `streamsep.config.to_dict` makes it.
        where: the file or preset, for error messages.

    Raises:
        StreamsepError: unknown class, or a configuration that the class does not take.
    """
    if not isinstance(class_name, str) or class_name not in MODEL_CLASSES:
        known = ", ".join(sorted(MODEL_CLASSES))
        raise StreamsepError(f"{where} names the model class {class_name!r}, but this version knows only {known}")
    module_name, config_name = MODEL_CLASSES[class_name]
    module = importlib.import_module(module_name)
    settings: Any = from_dict(getattr(module, config_name), config, where)
    try:
        model = getattr(module, class_name)(settings)
    except (ValueError, TypeError, RuntimeError) as error:
        raise StreamsepError(f"{where}: {class_name} does not take this configuration: {error}") from None
    assert isinstance(model, nn.Module)
    return model
