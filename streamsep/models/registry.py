"""Models by name: presets, shipped weights, and what was pulled into the user's cache."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from streamsep.config import config_folder, read_whole
from streamsep.errors import StreamsepError
from streamsep.models.checkpoint import load_checkpoint
from streamsep.models.defaults import (
    FILE_DEFAULT,
    MODEL_ENDINGS,
    OFFLINE_DEFAULTS,
    STREAM_DEFAULT,
    STREAMED_FILE_DEFAULT,
)
from streamsep.models.model_classes import build_model

# Official releases of the class HTDemucs: name -> repository on the hub (reference package, `hf.hf_repo_name`).
OFFICIAL_REPOSITORIES = {
    "htdemucs": "adefossez/HTDemucs",
    "htdemucs_6s": "adefossez/HTDemucs-6s",
    "htdemucs_ft": "adefossez/HTDemucs-ft",
}
# Official releases of the older classes Demucs and HDemucs.
UNSUPPORTED_RELEASES = ("hdemucs_mmi", "mdx", "mdx_extra", "mdx_extra_q", "mdx_q")
Mode = Literal["stream", "file", "streamed file", "offline"]
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class PresetInfo:
    """What is known of a preset without loading weights.

    Attributes:
        hop: samples a step, or None for a model that does not stream.
        latency: algorithmic latency in samples (index lag + hop), or None for a model that does not stream.
        parameters: number of trainable values.
        weights: where they are, or None.
    """

    name: str
    class_name: str
    sources: tuple[str, ...]
    sample_rate: int
    hop: int | None
    latency: int | None
    parameters: int
    weights: Path | None


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    return sorted(path.stem for path in config_folder("models").glob("*.yaml"))


def model_names() -> list[str]:
    """Every name that `load_model` knows: presets, official releases, shipped and pulled weights; sorted."""
    shipped = {path.stem for path in weights_folder().glob("*.safetensors")}
    pulled = {path.name for path in (cache_folder() / "models").glob("[!.]*") if path.is_dir()}
    return sorted({*preset_names(), *OFFICIAL_REPOSITORIES, *shipped, *pulled})


def build_preset(name: str) -> nn.Module:
    """Build the preset `name` with random weights.

    Raises:
        StreamsepError: no such preset, or a malformed preset file.
    """
    path = config_folder("models") / f"{name}.yaml"
    if name not in preset_names():
        raise StreamsepError(f"there is no preset {name!r}{_near(name, preset_names())}; see: streamsep models list")
    data = read_whole(path)
    if data.keys() != {"class", "config"}:
        raise StreamsepError(f"{path} must have the keys class and config, and no others")
    return build_model(data["class"], data["config"], str(path))


def preset_info(name: str) -> PresetInfo:
    """Describe the preset `name`; the model is built without memory for its weights.

    Raises:
        StreamsepError: as `build_preset`.
    """
    with torch.device("meta"):
        model = build_preset(name)
    hop = getattr(model, "hop", None) if hasattr(model, "step") else None
    return PresetInfo(
        name=name,
        class_name=type(model).__name__,
        sources=tuple(model.sources),  # type: ignore[arg-type]
        sample_rate=int(model.sample_rate),  # type: ignore[arg-type]
        hop=hop,
        latency=None if hop is None else int(model.latency) + hop,  # type: ignore[arg-type]
        parameters=sum(value.numel() for value in model.parameters()),
        weights=find_weights(name),
    )


def load_model(name_or_path: str | Path, *, device: torch.device | str | None = None) -> nn.Module:
    """Load a model for inference by name or path; a name wins over a file of that name (write ./NAME for the file).

    Its weights ask for no gradients, so that a state that is stepped for hours holds no graph of all that was.

    Args:
        name_or_path: a name of `model_names`, or a path that `load_checkpoint` takes.
        device: where the weights go; the CPU if none is given.

    Raises:
        StreamsepError: unknown name (near matches are named), a preset without weights, or a bad file.
    """
    name = str(name_or_path)
    weights = None if isinstance(name_or_path, Path) else find_weights(name)
    if weights is not None:
        return load_checkpoint(weights, device).requires_grad_(False)
    known = not isinstance(name_or_path, Path) and name in model_names()
    if name and not known and (_looks_like_path(name_or_path) or _is_there(Path(name))):
        return load_checkpoint(Path(name), device).requires_grad_(False)
    raise StreamsepError(_without_weights(name) if known else _unknown(name))


def find_weights(name: str) -> Path | None:
    """Where the weights of `name` are: shipped with the package, or in the user's cache; None if neither."""
    if not name or _looks_like_path(name):
        return None
    shipped = weights_folder() / f"{name}.safetensors"
    if _is_there(shipped) and shipped.is_file():
        return shipped
    pulled = cache_folder() / "models" / name
    return pulled if not name.startswith(".") and _is_there(pulled) and pulled.is_dir() else None


def default_model(mode: Mode) -> str:
    """The name of the model to use where none is given: in real time, for files, for files as a stream, or offline.

    Raises:
        StreamsepError: no weights for offline separation are at hand.
    """
    if mode != "offline":
        return {"stream": STREAM_DEFAULT, "file": FILE_DEFAULT, "streamed file": STREAMED_FILE_DEFAULT}[mode]
    for name in OFFLINE_DEFAULTS:
        if find_weights(name) is not None:
            return name
    raise StreamsepError("no weights of an offline model are at hand; fetch them with: streamsep models pull htdemucs")


def cache_folder() -> Path:
    """The user's cache: STREAMSEP_CACHE, else streamsep in XDG_CACHE_HOME, else in ~/.cache.

    Raises:
        StreamsepError: the user has no home, or there is no such user.
    """
    try:
        if chosen := os.environ.get("STREAMSEP_CACHE"):
            return Path(chosen).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamsep"
    except RuntimeError:
        raise StreamsepError("there is no home folder for the cache; set STREAMSEP_CACHE to a folder") from None


def weights_folder() -> Path:
    """The folder of the weights that ship with the package."""
    return _PACKAGE / "weights"


def describe_unpullable(name: str) -> str:
    """The sentence for a name that cannot be pulled."""
    pullable = sorted(OFFICIAL_REPOSITORIES)
    if name in UNSUPPORTED_RELEASES:
        return f"the release {name} is of the older class Demucs or HDemucs, which is not supported; pull htdemucs"
    if find_weights(name) is not None:
        return f"the weights of {name} are already on this machine"
    if name in preset_names():
        return _without_weights(name)
    return f"there is no release {name!r}{_near(name, pullable)}; what can be pulled: {', '.join(pullable)}"


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a longer name than a file may have
        return False


def _looks_like_path(name: str | Path) -> bool:
    text = str(name)
    return isinstance(name, Path) or "/" in text or "\\" in text or text.endswith(MODEL_ENDINGS)


def _without_weights(name: str) -> str:
    if name in OFFICIAL_REPOSITORIES:
        return f"the weights of {name} are not on this machine; fetch them with: streamsep models pull {name}"
    having = ", ".join(other for other in model_names() if find_weights(other)) or "none"
    return (
        f"no weights of the preset {name} have been released; "
        f"train it and give the checkpoint's path, or choose a model that has weights ({having})"
    )


def _unknown(name: str) -> str:
    return f"there is no model or file {name!r}{_near(name, model_names())}; see: streamsep models list"


def _near(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""
