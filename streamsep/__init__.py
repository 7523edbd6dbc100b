"""Separates music into drums, bass, other and vocals while it plays.

The public names are imported when they are first used: `import streamsep` stays quick and needs no optional part.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamsep.errors import StreamsepError
    from streamsep.files import read_audio, write_audio
    from streamsep.models.apply import apply_model
    from streamsep.models.causal_config import CausalConfig
    from streamsep.models.causal_htdemucs import CausalHTDemucs
    from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
    from streamsep.models.load import load_separator
    from streamsep.models.registry import load_model, preset_names
    from streamsep.models.separator import Separator
    from streamsep.models.sliding import SlidingSeparator
    from streamsep.models.streaming import separate_stream

__version__ = "0.1.0"

# oneDNN (of PyTorch 2.13) answers some strided bfloat16 convolutions wrongly by Intel's AMX, by more than they are
# large; it reads this at its first operation.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")
# ONNX Runtime 1.32 keeps a number of the machine in the user's cache and calls its maker; it reads this at import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "CausalConfig",
    "CausalHTDemucs",
    "HTDemucs",
    "HTDemucsConfig",
    "Separator",
    "SlidingSeparator",
    "StreamsepError",
    "apply_model",
    "load_model",
    "load_separator",
    "preset_names",
    "read_audio",
    "separate_stream",
    "write_audio",
]

_HOMES = {
    "CausalConfig": "models.causal_config",
    "CausalHTDemucs": "models.causal_htdemucs",
    "HTDemucs": "models.htdemucs",
    "HTDemucsConfig": "models.htdemucs",
    "Separator": "models.separator",
    "SlidingSeparator": "models.sliding",
    "StreamsepError": "errors",
    "apply_model": "models.apply",
    "load_model": "models.registry",
    "load_separator": "models.load",
    "preset_names": "models.registry",
    "read_audio": "files",
    "separate_stream": "models.streaming",
    "write_audio": "files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'streamsep' has no attribute {name!r}")
    return getattr(importlib.import_module(f"streamsep.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
