"""Stand-ins for instruments that the tests of songs play: a tiny soundfont of one preset, and a folder of samples."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    """A decaying tone with overtones, `[T]`."""
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3)) * np.exp(-3 * time) * 0.4


def write_instruments(folder: Path) -> Path:
    """A kit of few strokes, a bass and a guitar, laid out as the sampled instruments are."""
    rng = np.random.default_rng(0)
    drums = folder / "drums_machines" / "box"
    drums.mkdir(parents=True)
    time = np.arange(RATE // 4) / RATE
    strokes = {
        "kick": np.sin(2 * np.pi * 60 * time),
        "snare": rng.normal(size=len(time)),
        "hat": rng.normal(size=len(time)),
    }
    for name, sound in strokes.items():
        soundfile.write(drums / f"{name}.wav", (0.5 * sound * np.exp(-20 * time)).astype(np.float32), RATE)
    _instrument(folder / "bass_electric_yr", "Finger", 33, 55.0)
    _instrument(folder / "guitar_emily", "emily_clean", 57, 220.0)
    return folder


def _instrument(folder: Path, name: str, key: int, hertz: float) -> None:
    folder.mkdir(parents=True)
    soundfile.write(folder / "note.wav", tone(hertz).astype(np.float32), RATE)
    (folder / f"{name}.sfz").write_text(f"<region> sample=note.wav lokey=0 hikey=127 pitch_keycenter={key}\n")


def write_soundfont(path: Path, hertz: float = 440.0) -> Path:
    """A soundfont (SF2 2.01) of one looped tone in program 0 of banks 0 and 128, its root the key 69."""
    sound = (0.5 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE) * 32767).astype("<i2")
    samples = sound.tobytes() + bytes(92)
    presets = b"".join(
        struct.pack("<20sHHHIII", b"tone", 0, bank, index, 0, 0, 0) for index, bank in enumerate((0, 128))
    )
    presets += struct.pack("<20sHHHIII", b"EOP", 0, 0, 2, 0, 0, 0)
    generators = [(41, 0)]
    zones = b"".join(struct.pack("<HH", index, 0) for index in range(3))
    preset_generators = b"".join(struct.pack("<HH", *generators[0]) for _ in range(2)) + bytes(4)
    instruments = struct.pack("<20sH", b"tone", 0) + struct.pack("<20sH", b"EOI", 1)
    inside = [(54, 1), (53, 0)]
    sample = struct.pack("<20sIIIIIBbHH", b"tone", 0, len(sound), 100, len(sound) - 100, RATE, 69, 0, 0, 1)
    sample += struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    parts = {
        "phdr": presets, "pbag": zones, "pmod": bytes(10), "pgen": preset_generators, "inst": instruments,
        "ibag": struct.pack("<HHHH", 0, 0, 2, 0), "imod": bytes(10),
        "igen": b"".join(struct.pack("<HH", *pair) for pair in inside) + bytes(4), "shdr": sample,
    }  # fmt: skip
    info = _chunk("ifil", struct.pack("<HH", 2, 1)) + _chunk("isng", b"EMU8000\0") + _chunk("INAM", b"tone\0\0")
    body = (
        b"sfbk"
        + _chunk("LIST", b"INFO" + info)
        + _chunk("LIST", b"sdta" + _chunk("smpl", samples))
        + _chunk("LIST", b"pdta" + b"".join(_chunk(name, data) for name, data in parts.items()))
    )
    path.write_bytes(_chunk("RIFF", body))
    return path


def _chunk(name: str, data: bytes) -> bytes:
    return name.encode() + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
