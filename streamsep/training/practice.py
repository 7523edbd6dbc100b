"""Practice parts: drums, bass and other instruments rendered once from free samples, as material beside the songs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from streamsep.errors import StreamsepError
from streamsep.training.clips import Clip, made_clip
from streamsep.training.practice_band import PART_SECONDS, Band
from streamsep.training.practice_samples import sound_files

PRACTICED = ("drums", "bass", "other")
_RECIPE = 1  # raised whenever the same seed gives other sound


def open_practice(
    instruments: Path, minutes: float, cache: Path, *, seed: int = 0, quiet: bool = False
) -> dict[str, tuple[Clip, ...]]:
    """About `minutes` of each of drums, bass and other; rendered into the folder `cache` on the first call.

    Raises:
        StreamsepError: `instruments` is no folder, or holds no samples for one of the three.
    """
    if not instruments.is_dir():
        raise StreamsepError(f"there is no folder of instruments {instruments}; correct --instruments")
    count = max(round(60 * minutes / PART_SECONDS), 1)
    band, contents = Band(instruments), _contents(instruments)
    jobs = [(stem, index) for stem in PRACTICED for index in range(count)]
    parts: dict[str, list[Clip]] = {stem: [] for stem in PRACTICED}
    for stem, index in tqdm(jobs, desc="practice", unit="part", disable=quiet, leave=False):
        key = (seed, PRACTICED.index(stem), index)
        stamp = {"recipe": _RECIPE, "key": list(key), "seconds": PART_SECONDS, "samples": contents}
        parts[stem].append(
            made_clip(
                lambda stem=stem, key=key: band.part(stem, key[2], np.random.default_rng(key)).T,  # type: ignore[misc]
                cache / f"{stem}-{index:03d}",
                stamp,
            )
        )
    return {stem: tuple(clips) for stem, clips in parts.items()}


def _contents(folder: Path) -> str:
    """A digest of which samples are there."""
    lines = (f"{path.relative_to(folder)} {path.stat().st_size}" for path in sound_files(folder))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
