"""A band that plays for a recorder: a mix and its stems by absolute index, and what a recording of them must be."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.engine import recorder as recorder_module
from streamsep.engine.recorder import Recorder
from streamsep.engine.ring import Audio, Ring
from streamsep.files import Codec

NAMES = ("drums", "bass", "other", "vocals")
RATE, LATENCY = 8000, 300  # a chunk is 800 frames
FLOAT, FLAC = Codec("wav", 32), Codec("flac", 24)


class Band:
    """Both producers: a mix and its stems, `LATENCY` later, by absolute index, never waiting for the reader."""

    def __init__(
        self, frames: int, mix_room: int = 8000, stems_room: int = 8000, names: tuple[str, ...] = NAMES
    ) -> None:
        generator = np.random.default_rng(1)
        self.stems: Audio = generator.uniform(-0.2, 0.2, (8, frames)).astype(np.float32)
        self.mix: Audio = self.stems.reshape(4, 2, frames).sum(axis=0)
        self.late = np.pad(self.stems, ((0, 0), (LATENCY, 0)))
        self.rings = Ring(2, mix_room), Ring(8, stems_room)
        self.names: tuple[str, ...] = NAMES

    def recorder(self, folder: Path, codec: Codec = FLOAT, reserve: int = 0) -> Recorder:
        mix, stems = self.rings
        return Recorder(
            mix,
            stems,
            sources=self.names,
            sample_rate=RATE,
            latency=LATENCY,
            folder=folder,
            codec=codec,
            reserve=reserve,
        )

    def play(self, until: int) -> None:
        """Write everything up to frame `until` of the input, as far as there is room."""
        for ring, sound in zip(self.rings, (self.mix, self.late), strict=True):
            ring.write(sound[:, ring.written : until])


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def play_all(band: Band, recorder: Recorder, blocks: int | Iterator[int], frames: int) -> None:
    """Write block after block, and let the recorder come after before a ring is full."""
    position, sizes = 0, itertools.repeat(blocks) if isinstance(blocks, int) else blocks
    while position < frames:
        position = min(frames, position + next(sizes))
        until(lambda: min(ring.capacity - ring.readable for ring in band.rings) > 2000 or recorder.error is not None)
        band.play(position)


def read(paths: list[Path]) -> dict[str, Audio]:
    return {path.stem: soundfile.read(path, dtype="float32")[0].T for path in paths}


@pytest.fixture(autouse=True, name="quick")
def quick_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_PAUSE", 0.002)


def check_cut_short(band: Band, recorder: Recorder, blocks: int, reason: str) -> None:
    """The recording has ended by itself: told, readable, equally long, and the producers never noticed."""
    assert recorder.error is not None
    folder = recorder.stop(10)[0].parent
    assert recorder.error.startswith(f"cannot record into {folder} any longer (")
    assert reason in recorder.error
    assert recorder.error.endswith("can be read; free some space or record into another folder")
    files = read(recorder.stop())
    length = round(recorder.seconds * RATE)
    assert {sound.shape for sound in files.values()} == {(2, length)}
    assert length > blocks
    np.testing.assert_allclose(files["mix"], band.mix[:, :length], atol=2.0**-24)
    np.testing.assert_allclose(files["vocals"], band.stems[6:, :length], atol=2.0**-24)
    assert band.rings[0].written + 1000 > recorder.seconds * RATE
    assert not [thread for thread in threading.enumerate() if thread.name == "streamsep-recorder"]


def overfill(band: Band, recorder: Recorder) -> None:
    recorder.start()
    play_all(band, recorder, 500, band.mix.shape[1])
    until(lambda: recorder.error is not None)
