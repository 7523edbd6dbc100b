"""Stand-ins for the live command's tests: knobs that only remember, and a terminal that is a pseudo-terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest


class FakeDesk:
    """Where the fake's knobs stand."""

    def __init__(self) -> None:
        self.gains: dict[str, float] = {}
        self.mutes: set[str] = set()
        self.solos: set[str] = set()

    def gain(self, stem: str) -> float:
        return self.gains.get(stem, 1.0)

    def muted(self, stem: str) -> bool:
        return stem in self.mutes

    def soloed(self, stem: str) -> bool:
        return stem in self.solos


class FakeKnobs:
    """Knobs that turn nothing; `resets` and `takes` count what leaves no trace on the desk."""

    def __init__(self) -> None:
        self.desk = FakeDesk()
        self.bypass, self.panic = False, False
        self.recording: float | None = None
        self.resets = 0
        self.takes: list[Path] = []
        self.fault: Exception | None = None

    def set_gain(self, stem: str, gain: float) -> None:
        self.desk.gains[stem] = gain

    def set_mute(self, stem: str, on: bool) -> None:
        (self.desk.mutes.add if on else self.desk.mutes.discard)(stem)

    def set_solo(self, stem: str, on: bool) -> None:
        (self.desk.solos.add if on else self.desk.solos.discard)(stem)

    def set_bypass(self, on: bool) -> None:
        self.bypass = on

    def set_panic(self, on: bool) -> None:
        self.panic = on

    def reset(self) -> None:
        self.resets += 1

    def record(self, folder: Path, codec: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.takes.append(folder)
        self.recording = 0.0

    def stop_recording(self) -> list[Path]:
        if self.recording is None:
            return []
        self.recording = None
        return [self.takes[-1] / "drums.wav", self.takes[-1] / "mix.wav"]


@pytest.fixture(name="terminal")
def terminal_fixture() -> Iterator[tuple[int, TextIO]]:
    """A terminal's two ends: where a person types, and what a program reads."""
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    person, program = os.openpty()
    with os.fdopen(program, "r+b", buffering=0, closefd=True) as file:
        import io

        with io.TextIOWrapper(file) as stream:
            yield person, stream
    os.close(person)


def modes(stream: TextIO) -> list[object]:
    import termios

    return termios.tcgetattr(stream.fileno())
