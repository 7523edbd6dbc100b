"""A streaming separator by name: a causal model as it is, an offline one behind a sliding window."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import nn

from streamsep.errors import StreamsepError
from streamsep.models import registry
from streamsep.models.lookahead import waiting
from streamsep.models.separator import Separator
from streamsep.models.sliding import OfflineModel, SlidingSeparator, Windowing, windowing
from streamsep.models.tuning import find_tuning, plan, this_place

# Where nothing was measured: a hop that a modest GPU holds, and a window that knows a few bars.
SHORTEST_HOP = 0.25
USUAL_WINDOW = 3.0


def load_separator(
    name_or_path: str | Path,
    *,
    lookahead: float | None = None,
    window: float | None = None,
    hop: float | None = None,
    device: torch.device | str | None = None,
    threads: int = 1,
) -> Separator:
    """Load a model by name or path, as a streaming separator.

    Args:
        name_or_path: as `load_model` takes it.
        lookahead: seconds of future. An offline model needs them, and streams by a sliding window; a causal one takes
            as many as its weights learnt to wait for, and none if it is None.
        window, hop: of the sliding window in seconds. Where neither is given they are what `streamsep tune` found for
            this model, machine and look-ahead; where that was not run, a window of 3 s or four look-aheads, at most
            the model's segment, every half look-ahead or 0.25 s.
        device: where the weights go; the CPU if none is given.
        threads: CPU threads of a step, for the choice among tunings.

    Raises:
        StreamsepError: as `load_model`; a look-ahead that a causal model did not learn, none with an offline one, or a
            window that does not hold look-ahead and hop.
    """
    model = registry.load_model(name_or_path, device=device)
    return as_separator(model, str(name_or_path), lookahead=lookahead, window=window, hop=hop, threads=threads)


def check_stereo(model: OfflineModel, name: str) -> None:
    """Refuse a model of mono, as nothing that separates songs can use it.

    Raises:
        StreamsepError: it is one.
    """
    if model.audio_channels != 2:
        raise StreamsepError(f"{name} is not for stereo, which songs are separated in; choose another --model")


def as_separator(
    model: nn.Module,
    name: str,
    *,
    lookahead: float | None = None,
    window: float | None = None,
    hop: float | None = None,
    threads: int = 1,
) -> Separator:
    """`load_separator` for a model that is loaded already; `name` is what it was loaded by."""
    if isinstance(model, Separator):
        if flags := [flag for flag, value in (("--window", window), ("--hop", hop)) if value is not None]:
            raise StreamsepError(f"{flags[0]} is for offline models, and {name} streams by itself; leave it out")
        return model if lookahead is None else waiting(model, name, lookahead)
    if lookahead is None:
        raise StreamsepError(
            f"{name} is an offline model, which streams only with some future in view; add --lookahead 500ms, or "
            "another time"
        )
    offline = cast(OfflineModel, model)
    check_stereo(offline, name)
    moves = None
    if window is None and hop is None:
        moves = _tuned(offline, name, str(next(model.parameters()).device), lookahead, threads)
    return SlidingSeparator(offline, moves or _untuned(offline, name, lookahead, window, hop))


def tuning_key(name: str) -> str:
    """What a model is called among the tunings: its name, or where its file lies."""
    return name if registry.find_weights(name) is not None else str(Path(name).resolve())


def _tuned(model: OfflineModel, name: str, device: str, lookahead: float, threads: int) -> Windowing | None:
    tuning = find_tuning(tuning_key(name), this_place(device, threads))
    moves = None if tuning is None else plan(tuning, lookahead)
    return moves if moves is not None and moves.window <= model.max_length else None


def _untuned(model: OfflineModel, name: str, lookahead: float, window: float | None, hop: float | None) -> Windowing:
    rate, longest = model.sample_rate, model.max_length / model.sample_rate
    if window is None and lookahead >= longest:
        raise StreamsepError(
            f"a look-ahead of {lookahead:g} s does not fit into the segment of {name}, {longest:.3g} s; "
            "choose a shorter --lookahead"
        )
    if window is None:
        window = min(longest, max(USUAL_WINDOW, 4 * lookahead))
    if hop is None:
        hop = max(SHORTEST_HOP, lookahead / 2)
    return windowing(round(window * rate), round(hop * rate), round(lookahead * rate))
