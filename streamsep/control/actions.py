"""What a performer can do while it plays, whatever turns the knobs: keys today, a web page, OSC or MIDI tomorrow."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamsep.engine.mixer import from_decibels

if TYPE_CHECKING:
    from streamsep.files import Codec

# Below the lowest level a stem is off; above the highest a slip of the finger hurts ears.
LOWEST, HIGHEST = -60.0, 12.0


class Desk(Protocol):
    """Where the knobs of the stems stand."""

    def gain(self, stem: str) -> float:
        """Linear gain of a stem."""
        ...

    def muted(self, stem: str) -> bool:
        """Whether a stem is muted."""
        ...

    def soloed(self, stem: str) -> bool:
        """Whether a stem is soloed."""
        ...


class Knobs(Protocol):
    """What of a `Stream` can be turned and seen while it plays."""

    @property
    def desk(self) -> Desk:
        """Where the knobs of the stems stand."""
        ...

    @property
    def bypass(self) -> bool:
        """Whether the dry mix is heard."""
        ...

    @property
    def panic(self) -> bool:
        """Whether all outputs are silent."""
        ...

    @property
    def recording(self) -> float | None:
        """Seconds recorded so far, or None where nothing is recorded."""
        ...

    def set_gain(self, stem: str, gain: float) -> None:
        """Move the linear gain of a stem."""
        ...

    def set_mute(self, stem: str, on: bool) -> None:
        """Mute a stem, or let it sound again."""
        ...

    def set_solo(self, stem: str, on: bool) -> None:
        """Solo a stem, or take the solo back."""
        ...

    def set_bypass(self, on: bool) -> None:
        """Let the dry mix be heard, or the stems again."""
        ...

    def set_panic(self, on: bool) -> None:
        """Silence everything at once, or let it sound again."""
        ...

    def reset(self) -> None:
        """Forget the song so far."""
        ...

    def record(self, folder: Path, codec: Codec) -> None:
        """Begin to record into a folder of its own, named by the time, in `folder`."""
        ...

    def stop_recording(self) -> list[Path]:
        """End the recording; the files."""
        ...


@dataclass(frozen=True)
class Recording:
    """How takes are recorded: where their folders go, and the files' format."""

    folder: Path
    codec: Codec


class Actions:
    """The knobs of one stream, with a selected stem for those who have fewer knobs than stems.

    Args:
        knobs: what is turned.
        sources: the stems in order; a stem is called by its number from 0.
        recording: where `toggle_recording` puts its takes.

    Attributes:
        selected: number of the selected stem.
        notes: sentences for the performer, to be taken from the left.
        ended: set once the performer wants to leave.
        help: whether the performer wants to see the keys.
    """

    def __init__(self, knobs: Knobs, sources: Sequence[str], recording: Recording) -> None:
        self.sources = tuple(sources)
        self.selected = 0
        self.notes: deque[str] = deque()
        self.ended = threading.Event()
        self.help = False
        self._knobs, self._recording = knobs, recording

    def select(self, stem: int) -> None:
        """Choose the stem that `nudge_gain` and the other actions without a stem mean."""
        if 0 <= stem < len(self.sources):
            self.selected = stem

    def select_next(self, steps: int = 1) -> None:
        """Choose the stem `steps` further, around the end."""
        self.selected = (self.selected + steps) % len(self.sources)

    def toggle_mute(self, stem: int | None = None) -> None:
        """Mute a stem (default: the selected one), or let it sound again; it becomes the selected one."""
        name = self._choose(stem)
        self._knobs.set_mute(name, not self._knobs.desk.muted(name))

    def toggle_solo(self, stem: int | None = None) -> None:
        """Solo a stem (default: the selected one), or take the solo back; it becomes the selected one."""
        name = self._choose(stem)
        self._knobs.set_solo(name, not self._knobs.desk.soloed(name))

    def nudge_gain(self, decibels: float, stem: int | None = None) -> None:
        """Move the gain of a stem by some dB, between off (below -60 dB) and +12 dB."""
        name = self._choose(stem)
        before = to_decibels(self._knobs.desk.gain(name))
        after = round(max(before, LOWEST - 1) + decibels, 2)
        if after < LOWEST:
            after = -math.inf
        elif decibels > 0:
            after = max(before, min(after, HIGHEST))
        self._knobs.set_gain(name, from_decibels(after))

    def set_gain(self, decibels: float, stem: int | None = None) -> None:
        """Set the gain of a stem in dB."""
        self._knobs.set_gain(self._choose(stem), from_decibels(decibels))

    def toggle_bypass(self) -> None:
        """Hear the dry mix, or the stems again."""
        self._knobs.set_bypass(not self._knobs.bypass)

    def toggle_panic(self) -> None:
        """Silence everything at once, or let it sound again."""
        self._knobs.set_panic(not self._knobs.panic)

    def reset(self) -> None:
        """Forget the song so far, as for a new song."""
        self._knobs.reset()
        self.notes.append("the model has forgotten the song so far")

    def toggle_recording(self) -> None:
        """Begin to record, or end the recording."""
        if self._knobs.recording is None:
            self.start_recording()
        else:
            self.stop_recording()

    def start_recording(self) -> None:
        """Begin a take.

        Raises:
            StreamsepError: the folder cannot be written.
        """
        self._knobs.record(self._recording.folder, self._recording.codec)
        self.notes.append(f"recording into {self._recording.folder}")

    def stop_recording(self) -> None:
        """End the take, if there is one, and note its files."""
        if files := self._knobs.stop_recording():
            self.notes.append(f"recorded {', '.join(path.name for path in files)} in {files[0].parent}")

    def toggle_help(self) -> None:
        """Show the keys, or hide them."""
        self.help = not self.help

    def end(self) -> None:
        """Leave."""
        self.ended.set()

    def _choose(self, stem: int | None) -> str:
        if stem is not None:
            self.select(stem)
        return self.sources[self.selected]


def to_decibels(gain: float) -> float:
    """Level in dB of a linear gain; 0 is -inf.

    >>> to_decibels(1.0), round(to_decibels(0.5), 2), to_decibels(0.0)
    (0.0, -6.02, -inf)
    """
    return 20.0 * math.log10(gain) if gain > 0 else -math.inf
