"""Stems of several songs that keep time with each other: one tempo, one place in the bar."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

from streamsep.errors import StreamsepError
from streamsep.training.clips import RATE

RECORD = "song.json"
_BEATS = 4  # of a bar
_DOUBLES = (1.0, 2.0, 0.5)  # a song at half the tempo keeps time too


class Tempo(NamedTuple):
    """Of a song that keeps it: beats per minute, and the seconds before its first bar."""

    bpm: float
    first: float = 0.0

    @property
    def bar(self) -> float:
        """Samples of a bar."""
        return _BEATS * 60 / self.bpm * RATE


def tempo_of(folder: Path) -> Tempo | None:
    """What `song.json` in a song's folder says: `tempo` in beats per minute and, where it is not 0, `first_bar` in
    seconds; None where there is no such file, or no tempo in it.

    Raises:
        StreamsepError: the file cannot be read.
    """
    record = folder / RECORD
    if not record.is_file():
        return None
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        tempo = Tempo(float(facts.get("tempo") or 0), float(facts.get("first_bar", 0)))
        if not math.isfinite(tempo.first):
            raise ValueError(f"a first bar at {tempo.first} seconds")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StreamsepError(f"{record} does not tell a tempo ({error}); mend it or take it away") from None
    return tempo if 0 < tempo.bpm < math.inf else None


class Pace(NamedTuple):
    """How a song keeps time with others: its own tempo, the speed it is played at, and the place (0..1) in the bar."""

    tempo: Tempo
    speed: float
    place: float

    def start(self, near: int, last: int) -> int:
        """The sample nearest to `near`, at most `last`, at the place in a bar; `near` if there is none."""
        first, bar = self.tempo.first * RATE + self.place * self.tempo.bar, self.tempo.bar
        number = max(min(round((near - first) / bar), math.floor((last - first) / bar)), 0)
        found = round(first + number * bar)
        return found if 0 <= found <= last else near


class Moment(NamedTuple):
    """What the stems of a mixture share: a tempo, a place (0..1) in the bar, and the speeds they may be played at."""

    tempo: Tempo
    place: float
    speeds: tuple[float, float]

    def pace(self, song: Tempo | None) -> Pace | None:
        """How a song of a tempo comes into it; None if that is unknown or too far away.

        In a song of double tempo a bar is half as long: it is twice as far in its own.
        """
        if song is None:
            return None
        for times in _DOUBLES:
            speed = times * self.tempo.bpm / song.bpm
            if self.speeds[0] <= speed <= self.speeds[1]:
                return Pace(song, speed, self.place * times % 1)
        return None
