"""Sampled instruments: one-shots of drum kits by their file names, and notes from the nearest sample of an SFZ map."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
import soxr

from streamsep.training.clips import RATE, SUFFIXES, Generator, Samples


class Recipe(Protocol):
    """A sample that is made and not read; equal recipes make equal samples."""

    def __hash__(self) -> int: ...

    def render(self) -> Samples:
        """The sample `[C, T]` at 44.1 kHz."""


Layers = tuple[Path | Recipe, ...]  # one drum, soft to loud
Pieces = dict[str, list[Layers]]
_TOKEN = re.compile(r"<(\w+)>|(\w+)=(\S+)")
_ENCLOSING = {"global": 0, "master": 1, "group": 2, "region": 3}
_PIECES = (  # first match wins; searched in the path below the kit's folder, in lower case
    ("open", r"open|ohihat|-oh\.|^oh/"),
    ("rim", r"rim|stick"),
    ("kick", r"kick|^bd[/_]|drum_bass"),
    ("snare", r"snare|^s[nd][/_]|-sd\.|shortsn"),
    ("clap", r"clap|^cp/"),
    ("ride", r"ride|^rd/"),
    ("crash", r"crash|cymbal|splash|cy0|^cr/"),
    ("tom1", r"tom-?(hi|hh|3)|hitom|tom_hi|^ht/|conga-?h"),
    ("tom2", r"tom-?(m|2)|midtom|mid-tom|tom_mid|^mt/|conga-?m"),
    ("tom3", r"tom-?(l|1)|lowtom|tom0|tom_lo|^lt/|conga-?l"),
    ("hat", r"hh|hat|-ch\.|shorthi"),
    ("shaker", r"cabasa|shaker|maraca|tamb|^sh/|^tb/"),
    ("bell", r"cowbell|clave|^cb/"),
)
_ACOUSTIC = {
    "kick": "Kdrum[LR]", "snare": "Snare[12]", "rim": "SnareRest[12]", "hat": "HihatClosed", "open": "HihatOpen",
    "ride": "Ride[LR]", "bell": "Ride[LR]Bell", "crash": "Crash[LR]|China",
    "tom1": "Tom1", "tom2": "Tom2", "tom3": "Tom3", "tom4": "Tom4",
}  # fmt: skip


@lru_cache(maxsize=512)
def load_sample(path: Path | Recipe, longest: float = 5.0) -> Samples:
    """One sample `[C, T]` at 44.1 kHz, at most `longest` seconds from its onset on, with a soft end."""
    if not isinstance(path, Path):
        return path.render()
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples if rate == RATE else soxr.resample(samples, rate, RATE).astype(np.float32)
    loudness = np.abs(samples).max(1, initial=0.0)
    onset = int(np.argmax(loudness > 0.03 * loudness.max(initial=0.0))) if len(loudness) else 0
    kept = samples[max(onset - RATE // 1000, 0) :][: round(longest * RATE), :2].T.copy()
    return fade_out(kept, 0.01)


def fade_out(sound: Samples, seconds: float) -> Samples:
    """The sound with its last `seconds` faded, in place."""
    count = min(round(seconds * RATE), sound.shape[1])
    if count:
        sound[:, -count:] *= np.cos(np.linspace(0, np.pi / 2, count, dtype=np.float32)) ** 2
    return sound


def varispeed(sound: Samples, speed: Samples | float, frames: int) -> Samples:
    """`frames` samples of a sound `[C, T]` at a speed, or at one that changes `[frames]`; fewer where it ends."""
    speeds = np.broadcast_to(np.asarray(speed, np.float64), (frames,))
    positions = np.cumsum(speeds) - speeds[:1].sum()
    positions = positions[positions <= sound.shape[1] - 1]
    grid = np.arange(sound.shape[1])
    return np.stack([np.interp(positions, grid, channel) for channel in sound]).astype(np.float32)


@dataclass(frozen=True)
class Zone:
    """One sample of a map: the keys and velocities it covers (both ends included) and the key it was played at."""

    path: Path
    keys: tuple[int, int]
    velocities: tuple[int, int]
    centre: int


def read_sfz(path: Path) -> tuple[Zone, ...]:
    """The zones of an SFZ map whose sample is there; release sounds and modulation are passed over."""
    scopes: list[dict[str, str]] = [{}, {}, {}, {}]
    regions: list[dict[str, str]] = []
    depth: int | None = None
    text = "\n".join(line.split("//")[0] for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    for header, key, value in _TOKEN.findall(text):
        if header:
            depth = _ENCLOSING.get(header)
            for inner in scopes[len(scopes) if depth is None else depth :]:
                inner.clear()
            if header == "region":
                regions.append({name: text for scope in scopes for name, text in scope.items()})
        elif depth is not None:
            (regions[-1] if depth == _ENCLOSING["region"] else scopes[depth])[key] = value
    zones = (_zone(region, path.parent) for region in regions)
    return tuple(zone for zone in zones if zone is not None)


def _zone(region: Mapping[str, str], folder: Path) -> Zone | None:
    sample = folder / region.get("sample", "").replace("\\", "/")
    if region.get("trigger", "attack") != "attack" or not sample.is_file():
        return None
    try:
        low, high = (int(region.get(name, region.get("key", ""))) for name in ("lokey", "hikey"))
        centre = int(region.get("pitch_keycenter", region.get("key", low)))
        velocities = int(region.get("lovel", 0)), int(region.get("hivel", 127))
    except ValueError:
        return None
    return Zone(sample, (low, high), velocities, centre)


@dataclass(frozen=True)
class Instrument:
    """A pitched instrument made of zones."""

    zones: tuple[Zone, ...]

    def note(self, pitch: int, velocity: float, seconds: float, rng: Generator, slide: float = 0.0) -> Samples:
        """A note `[C, T]` with a short release; pitch is a MIDI key, velocity 0..1, `slide` semitones to glide up from.

        The zone nearest in key, then in velocity, is taken; among equals one at random.
        """
        power = 127 * velocity
        distances = [(_outside(pitch, z.keys), _outside(power, z.velocities)) for z in self.zones]
        nearest = [zone for zone, distance in zip(self.zones, distances, strict=True) if distance == min(distances)]
        zone = nearest[int(rng.integers(len(nearest)))]
        release, cents = 0.06, float(rng.normal(0, 3)) / 100
        frames = round((seconds + release) * RATE)
        speed: Samples | float = 2 ** ((pitch - zone.centre + cents) / 12)
        if slide:
            rise = np.clip(np.arange(frames) / (RATE * min(0.4 * seconds, 0.15)), 0, 1)
            speed = (speed * 2 ** ((rise - 1) * slide / 12)).astype(np.float32)
        sound = varispeed(load_sample(zone.path), speed, frames)
        return fade_out(sound, release) * np.float32(0.35 + 0.65 * velocity)


def _outside(value: float, bounds: tuple[int, int]) -> float:
    return max(bounds[0] - value, value - bounds[1], 0)


@dataclass(frozen=True)
class DrumKit:
    """One drum for each piece, each with its layers from soft to loud, its playback speed and its gain."""

    layers: Mapping[str, Layers]
    speeds: Mapping[str, float]
    gains: Mapping[str, float]

    def hit(self, piece: str, velocity: float, rng: Generator) -> Samples:
        """One stroke `[C, T]`; velocity 0..1 picks the layer, give or take a neighbour, or scales the only one."""
        layers = self.layers[piece]
        place = velocity * (len(layers) - 1) + rng.uniform(-1.2, 1.2)
        sound = load_sample(layers[int(np.clip(round(place), 0, len(layers) - 1))])
        speed = self.speeds[piece] * float(rng.normal(1, 0.003))
        softness = velocity ** (0.3 if len(layers) > 3 else 1.5)
        return varispeed(sound, speed, int(sound.shape[1] / speed)) * np.float32(softness * self.gains[piece])


def draw_kit(pieces: Pieces, rng: Generator, tuning: float = 0.06) -> DrumKit:
    """A kit with one drum of each piece, tuned and balanced at random."""
    layers = {name: drums[int(rng.integers(len(drums)))] for name, drums in sorted(pieces.items())}
    speeds = {name: float(2 ** rng.normal(0, tuning)) for name in layers}
    gains = {name: float(10 ** (rng.normal(0, 3) / 20)) for name in layers}
    return DrumKit(layers, speeds, gains)


def acoustic_pieces(folder: Path) -> Pieces:
    """The drums of a kit kept as one folder a drum, `samples/DRUM/NUMBER-DRUM.ogg`, numbered from soft to loud."""
    pieces: Pieces = {}
    for place in sorted(folder.glob("samples/*")):
        files = sorted(sound_files(place), key=lambda path: int((re.match(r"\d+", path.name) or ["0"])[0]))
        for piece, pattern in _ACOUSTIC.items():
            if files and re.fullmatch(pattern, place.name):
                pieces.setdefault(piece, []).append(tuple(files))
                break
    return pieces


def one_shot_pieces(folder: Path) -> Pieces:
    """The drums below a folder of single strokes, told by their file names; each is a layer of its own."""
    pieces: Pieces = {}
    for path in sound_files(folder):
        name = path.relative_to(folder).as_posix().lower()
        piece = next((piece for piece, pattern in _PIECES if re.search(pattern, name)), None)
        if piece is not None:
            pieces.setdefault(piece, []).append((path,))
    return pieces


def sound_files(folder: Path) -> list[Path]:
    """Audio files below a folder, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_maps(paths: Iterable[Path]) -> list[Instrument]:
    """The instruments of those maps that are there and have a sample."""
    found = [Instrument(read_sfz(path)) for path in paths if path.is_file()]
    return [instrument for instrument in found if instrument.zones]
