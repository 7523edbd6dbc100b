"""Remixes that keep time: one tempo, one place in the bar."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from streamsep.errors import StreamsepError
from streamsep.training.batches import BatchConfig, BatchMaker
from streamsep.training.clips import BLOCK, RATE, Clip
from streamsep.training.data import STEMS, Library, Song
from streamsep.training.in_time import Moment, Pace, Tempo, tempo_of

SPEEDS = (0.88, 1.12)


def clicks(tempo: Tempo, seconds: float = 30.0) -> Clip:
    """A click at the start of every bar."""
    samples = np.zeros((round(seconds * RATE), 1), np.int16)
    samples[np.arange(tempo.first * RATE, len(samples) - 1, tempo.bar).round().astype(int)] = 30000
    blocks = -(-len(samples) // BLOCK)
    return Clip(samples, 1 / 32767, np.ones(blocks, np.float32), 0.1)


def song(name: str, tempo: Tempo | None, plays: Tempo | None = None) -> Song:
    clip = clicks(plays or tempo or Tempo(100))
    return Song(name, dict.fromkeys(STEMS, clip), tempo=tempo)


def test_the_tempo_of_a_folder(tmp_path: Path) -> None:
    assert tempo_of(tmp_path) is None
    record = tmp_path / "song.json"
    record.write_text(json.dumps({"tempo": 120, "first_bar": 0.25}))
    assert tempo_of(tmp_path) == Tempo(120, 0.25) and Tempo(120).bar == 2 * RATE
    for silent in ({}, {"tempo": None}, {"tempo": 0}, {"tempo": -3}):
        record.write_text(json.dumps(silent))
        assert tempo_of(tmp_path) is None
    for broken in (
        "{",
        "[]",
        '{"tempo": "fast"}',
        '{"tempo": 9, "first_bar": NaN}',
        '{"tempo": 9, "first_bar": 1e999}',
    ):
        record.write_text(broken)
        with pytest.raises(StreamsepError, match=r"song\.json does not tell a tempo"):
            tempo_of(tmp_path)


@pytest.mark.parametrize(
    ("bpm", "speed"), [(100, 1.0), (95, 100 / 95), (52, 50 / 52), (205, 200 / 205), (80, None), (130, None)]
)
def test_a_song_comes_in_at_the_tempo_or_its_half_or_double(bpm: float, speed: float | None) -> None:
    pace = Moment(Tempo(100), 0.5, SPEEDS).pace(Tempo(bpm))
    assert (pace and pace.speed) == (speed and pytest.approx(speed))
    assert Moment(Tempo(100), 0.5, SPEEDS).pace(None) is None


def test_a_start_is_the_nearest_at_the_place_in_the_bar() -> None:
    pace = Pace(Tempo(120, 0.5), 1.0, 0.25)  # bars of two seconds
    at = [pace.start(round(second * RATE), 7 * RATE) / RATE for second in (0.0, 1.9, 2.1, 6.9)]
    assert at == [1.0, 1.0, 3.0, 7.0]
    assert pace.start(6 * RATE, round(6.5 * RATE)) == 5 * RATE
    assert pace.start(300, RATE // 2) == 300


CONFIG = BatchConfig(
    size=12, seconds=6.0, remix=1.0, in_time=1.0, silence=0.0, extra={}, gain=(0.0, 0.0), overall=(0.0, 0.0)
)  # fmt: skip


def beats(stem: np.ndarray) -> np.ndarray:
    """Seconds of the clicks in `[2, T]`."""
    heard = np.abs(stem).max(0)
    loud = np.flatnonzero(heard > 0.4 * heard.max())
    return loud[np.insert(np.diff(loud) > 1000, 0, True)] / RATE


def test_stems_of_a_remix_in_time_click_together_and_of_one_at_random_do_not() -> None:
    songs = (song("a", Tempo(100)), song("b", Tempo(104, 0.3)), song("c", Tempo(95, 1.1)), song("d", None))
    doubles = (song("half", Tempo(50, 0.7)), song("double", Tempo(200, 0.2)))
    library = Library((*songs, *doubles), {}, ())

    def spread(config: BatchConfig) -> float:
        """Mean distance of the clicks of the slower of two stems from the nearest of the other, in seconds."""
        sources = BatchMaker(library, config, STEMS, 64)(3).sources.numpy()
        clicked = [[beats(stem) for stem in row] for row in sources]
        pairs = [pair for row in clicked for pair in combinations(sorted(row, key=len), 2)]
        away = [np.abs(slow[:, None] - fast).min(1).mean() for slow, fast in pairs]
        return float(np.mean(away))

    assert spread(CONFIG) < 0.004 < 0.1 < spread(replace(CONFIG, in_time=0.0))


def test_where_a_song_stands_alone_it_plays_by_itself_and_without_tempos_all_play() -> None:
    far = Library((song("slow", Tempo(60)), song("fast", Tempo(90))), {}, ())
    batch = BatchMaker(far, CONFIG, STEMS, 64)(0)
    assert bool((batch.sources.abs().amax((2, 3)) > 0).all())
    unknown = Library((song("a", None), song("b", None)), {}, ())
    free = replace(CONFIG, in_time=0.0)
    for step in range(3):
        a, b = (BatchMaker(unknown, config, STEMS, 64)(step).sources for config in (CONFIG, free))
        assert bool((a == b).all())
