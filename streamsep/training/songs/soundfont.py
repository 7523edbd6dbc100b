"""General MIDI sounds from a soundfont, through FluidSynth: one part at a time, bit for bit the same each time."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from streamsep.errors import StreamsepError
from streamsep.training.clips import RATE, Samples
from streamsep.training.songs.score import Note

_BLOCK = 64  # samples: FluidSynth takes up new notes only between its own blocks
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_CALLS: dict[str, tuple[Any, list[Any]]] = {
    "new_fluid_settings": (_POINTER, []),
    "fluid_settings_setint": (_INT, [_POINTER, ctypes.c_char_p, _INT]),
    "fluid_settings_setnum": (_INT, [_POINTER, ctypes.c_char_p, ctypes.c_double]),
    "new_fluid_synth": (_POINTER, [_POINTER]),
    "delete_fluid_synth": (None, [_POINTER]),
    "fluid_synth_sfload": (_INT, [_POINTER, ctypes.c_char_p, _INT]),
    "fluid_synth_get_sfont_by_id": (_POINTER, [_POINTER, _INT]),
    "fluid_sfont_get_preset": (_POINTER, [_POINTER, _INT, _INT]),
    "fluid_synth_add_sfont": (_INT, [_POINTER, _POINTER]),
    "fluid_synth_remove_sfont": (_INT, [_POINTER, _POINTER]),
    "fluid_synth_unset_program": (_INT, [_POINTER, _INT]),
    "fluid_synth_program_select": (_INT, [_POINTER, _INT, _INT, _INT, _INT]),
    "fluid_synth_noteon": (_INT, [_POINTER, _INT, _INT, _INT]),
    "fluid_synth_noteoff": (_INT, [_POINTER, _INT, _INT]),
    "fluid_synth_write_float": (_INT, [_POINTER, _INT, _POINTER, _INT, _INT, _POINTER, _INT, _INT]),
    "fluid_set_log_function": (_POINTER, [_INT, _POINTER, _POINTER]),
}
DRUM_BANK = 128


class SoundFont:
    """A soundfont that stays open; every part is played by a fresh synthesiser, so that nothing of another is heard.

    Args:
        path: an .sf2 or .sf3 file.

    Raises:
        StreamsepError: FluidSynth or the file is missing, or the file is no soundfont.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lib = _library()
        if not path.is_file():
            raise StreamsepError(
                f"there is no soundfont {path}; run: apt-get install fluid-soundfont-gm, or correct it"
            )
        self._settings = self._lib.new_fluid_settings()
        self._lib.fluid_settings_setnum(self._settings, b"synth.sample-rate", float(RATE))
        self._lib.fluid_settings_setnum(self._settings, b"synth.gain", 0.4)
        self._lib.fluid_settings_setint(self._settings, b"synth.dynamic-sample-loading", 1)
        for effect in (b"synth.reverb.active", b"synth.chorus.active"):
            self._lib.fluid_settings_setint(self._settings, effect, 0)
        # The synthesiser that read the file stays: the font goes on reading samples through it.
        self._reader = self._synth()
        number = self._lib.fluid_synth_sfload(self._reader, str(path).encode(), 0)
        if number < 0:
            raise StreamsepError(f"FluidSynth cannot read the soundfont {path}; choose another")
        self._font = self._lib.fluid_synth_get_sfont_by_id(self._reader, number)
        self._lib.fluid_synth_remove_sfont(self._reader, self._font)

    def has(self, bank: int, program: int) -> bool:
        """Whether there is such a preset."""
        return bool(self._lib.fluid_sfont_get_preset(self._font, bank, program))

    def play(self, notes: Sequence[Note], bank: int, program: int, frames: int) -> Samples:
        """Notes on one preset as `[2, frames]`; dry, of any level.

        Raises:
            StreamsepError: the soundfont has no such preset.
        """
        synth = self._synth()
        number = self._lib.fluid_synth_add_sfont(synth, self._font)
        try:
            if self._lib.fluid_synth_program_select(synth, 0, number, bank, program) != 0:
                raise StreamsepError(
                    f"{self.path.name} has no program {program} in bank {bank}; choose another soundfont"
                )
            return self._render(synth, notes, frames)
        finally:
            self._lib.fluid_synth_remove_sfont(synth, self._font)
            self._lib.delete_fluid_synth(synth)

    def _synth(self) -> Any:
        synth = self._lib.new_fluid_synth(self._settings)
        # Else every synthesiser decodes the piano and the standard kit that nobody plays.
        for channel in range(16):
            self._lib.fluid_synth_unset_program(synth, channel)
        return synth

    def _render(self, synth: Any, notes: Sequence[Note], frames: int) -> Samples:
        out = np.zeros((2, -(-frames // _BLOCK) * _BLOCK), np.float32)
        left, right = out[0].ctypes.data, out[1].ctypes.data
        done = 0
        for time, on, key, velocity in _events(notes):
            block = min(round(time * RATE) // _BLOCK * _BLOCK, out.shape[1])
            if block > done:
                self._lib.fluid_synth_write_float(synth, block - done, left, done, 1, right, done, 1)
                done = block
            if on:
                self._lib.fluid_synth_noteon(synth, 0, key, velocity)
            else:
                self._lib.fluid_synth_noteoff(synth, 0, key)
        if out.shape[1] > done:
            self._lib.fluid_synth_write_float(synth, out.shape[1] - done, left, done, 1, right, done, 1)
        return out[:, :frames]


def _events(notes: Sequence[Note]) -> list[tuple[float, bool, int, int]]:
    """(seconds, on, key, velocity) in order; a key struck again is let go before."""
    events: list[tuple[float, bool, int, int]] = []
    sounding: dict[int, float] = {}
    for note in notes:
        key = int(np.clip(round(note.pitch), 0, 127))
        velocity = int(np.clip(round(127 * note.velocity), 1, 127))
        if sounding.get(key, -1.0) > note.start:
            events = [event for event in events if event != (sounding[key], False, key, 0)]
            events.append((note.start, False, key, 0))
        events.append((note.start, True, key, velocity))
        events.append((note.end, False, key, 0))
        sounding[key] = note.end
    return sorted(events)


@lru_cache(maxsize=1)
def _library() -> Any:
    name = ctypes.util.find_library("fluidsynth")
    if name is None:
        raise StreamsepError("FluidSynth is not installed; run: apt-get install fluidsynth fluid-soundfont-gm")
    library = ctypes.CDLL(name)
    for call, (result, arguments) in _CALLS.items():
        function = getattr(library, call)
        function.restype, function.argtypes = result, arguments
    for severity in range(5):
        library.fluid_set_log_function(severity, None, None)
    return library
