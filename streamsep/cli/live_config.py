"""What `streamsep live` can be told, by a preset's file and by flags, and how the two come together."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from streamsep.config import config_folder, load_yaml
from streamsep.errors import StreamsepError

MAX_GAIN = 60.0
MAX_CHANNEL = 256
MAX_BLOCK = 16384
MIX = "mix"
Latency = Literal["low", "high"] | float


@dataclass(frozen=True)
class LiveConfig:
    """A rig: the model, the device, and where the knobs stand when it starts. Each field is a flag of that name.

    Attributes:
        description: one line for people.
        routes: "STEM=1,2" each, or "STEM=3" for mono; STEM may be "mix". A stem may go to several places.
        gain: dB of each stem; -inf is off.
        mute: stems that start muted.
        solo: stems that start soloed.
        input_channels: one or two channels of the input device, from 1; none: the first two, or the only one.
        input_gain, output_gain: dB.
        limiter: a soft limit on what leaves; None: where a mix is played.
        on_overload: what is heard while stems are missing: "dry" (the mix) or "mute".
        queue: blocks granted to the model; None: what its measured steps need.
        input_device, output_device: a number or a part of the name; None: the system's own; "-": a pipe.
        samplerate: Hz of the device; None: its own.
        blocksize: frames of a device block; None: 256, or the period of a JACK server.
        latency: of the device: "low", "high" or seconds.
        exclusive: WASAPI alone: keep the device to ourselves.

    Raises:
        ValueError: a value that cannot be.
    """

    description: str = ""
    model: str | None = None
    executor: str = "auto"
    routes: tuple[str, ...] = ("mix=1,2",)
    gain: dict[str, float] = field(default_factory=dict)
    mute: tuple[str, ...] = ()
    solo: tuple[str, ...] = ()
    input_channels: tuple[int, ...] = ()
    input_gain: float = 0.0
    output_gain: float = 0.0
    limiter: bool | None = None
    on_overload: Literal["dry", "mute"] = "dry"
    queue: int | None = None
    input_device: int | str | None = None
    output_device: int | str | None = None
    host_api: str | None = None
    samplerate: int | None = None
    blocksize: int | None = None
    latency: Latency = "low"
    exclusive: bool = False

    def __post_init__(self) -> None:
        if not self.routes:
            raise ValueError("routes is empty, so nothing would be heard")
        for text in self.routes:
            parse_route(text)
        for level in (*self.gain.values(), self.input_gain, self.output_gain):
            check_gain(level)
        if self.input_channels:
            check_channels(self.input_channels)
        for name in ("queue", "samplerate", "blocksize"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if (self.blocksize or 0) > MAX_BLOCK:
            raise ValueError(f"blocksize is at most {MAX_BLOCK}, not {self.blocksize}")
        parse_latency(str(self.latency))

    @property
    def parsed_routes(self) -> list[tuple[str, tuple[int, ...]]]:
        """(stem, channels from 1) of every route."""
        return [parse_route(text) for text in self.routes]

    @property
    def outputs(self) -> int:
        """Channels that the output device must have."""
        return max(max(channels) for _, channels in self.parsed_routes)

    @property
    def limited(self) -> bool:
        """Whether the limiter is on: stems apart are mixed elsewhere, by someone who minds their peaks."""
        return any(stem == MIX for stem, _ in self.parsed_routes) if self.limiter is None else self.limiter

    def check_stems(self, sources: Sequence[str]) -> None:
        """Raise StreamsepError where a stem is named that is none of `sources`."""
        named = [(stem, "routes") for stem, _ in self.parsed_routes if stem != MIX]
        named += [(stem, name) for name in ("gain", "mute", "solo") for stem in getattr(self, name)]
        for stem, where in named:
            if stem not in sources:
                have = ", ".join(sources)
                raise StreamsepError(f"there is no stem {stem!r} (in {where}); the stems of this model are {have}")


def settings(args: argparse.Namespace) -> LiveConfig:
    """The preset that the flags name, and over it the flags.

    A stem with a --gain is heard, even where the preset mutes it, unless --mute names it too.

    Raises:
        StreamsepError: no such preset, a preset's file with a mistake in it, or flags that cannot be.
    """
    base = load_preset(args.preset) if args.preset else LiveConfig()
    names = [item.name for item in dataclasses.fields(LiveConfig)]
    given: dict[str, Any] = {name: value for name in names if (value := getattr(args, name, None)) is not None}
    gain = dict(given.get("gain", ()))
    kept = [stem for stem in base.mute if stem not in gain]
    given["gain"] = base.gain | gain
    given["mute"] = tuple(dict.fromkeys([*kept, *given.get("mute", ())]))
    given["solo"] = tuple(dict.fromkeys([*base.solo, *given.get("solo", ())]))
    given["routes"] = tuple(given.get("routes", base.routes))
    try:
        return dataclasses.replace(base, **given)
    except ValueError as error:
        raise StreamsepError(str(error)) from None


def live_presets() -> list[str]:
    """Names of the presets that come along, sorted."""
    return sorted(path.stem for path in config_folder("live").glob("*.yaml"))


def load_preset(name: str) -> LiveConfig:
    """A preset by its name or its file.

    Raises:
        StreamsepError: there is none, or it has a mistake in it.
    """
    if name in live_presets():
        return load_yaml(LiveConfig, config_folder("live") / f"{name}.yaml")
    if Path(name).suffix in (".yaml", ".yml") or Path(name).parent != Path("."):
        return load_yaml(LiveConfig, name)
    near = difflib.get_close_matches(name, live_presets(), n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise StreamsepError(
        f"there is no preset {name!r}{meant}; choose one of {', '.join(live_presets())}, or name a file ending in .yaml"
    )


def parse_route(text: str) -> tuple[str, tuple[int, ...]]:
    """Stem and channels of a route; ValueError where it is none.

    >>> parse_route("vocals=3,4"), parse_route("mix=5")
    (('vocals', (3, 4)), ('mix', (5,)))
    """
    stem, equals, channels = text.partition("=")
    if not stem or not equals:
        raise ValueError(f"{text!r} is not of the form STEM=1,2 or STEM=3")
    return stem, parse_channels(channels)


def parse_channels(text: str) -> tuple[int, ...]:
    """One or two different channels from 1, such as "1,2"; ValueError where they are not that."""
    try:
        channels = tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is no list of channels; write 1,2 for two or 3 for one") from None
    check_channels(channels)
    return channels


def check_channels(channels: tuple[int, ...]) -> None:
    """ValueError unless these are one or two different channels from 1."""
    shown = ",".join(map(str, channels))
    if not 1 <= len(channels) <= 2 or len(set(channels)) < len(channels):
        raise ValueError(f"{shown!r} is not one channel or two different ones")
    if not all(1 <= channel <= MAX_CHANNEL for channel in channels):
        raise ValueError(f"channels are counted from 1 to {MAX_CHANNEL}, and {shown!r} is outside")


def parse_stem_gain(text: str) -> tuple[str, float]:
    """Stem and dB of "STEM=DB"; ValueError where it is not that."""
    stem, equals, level = text.partition("=")
    if not stem or not equals:
        raise ValueError(f"{text!r} is not of the form STEM=DB, such as vocals=-6")
    return stem, parse_gain(level)


def parse_gain(text: str) -> float:
    """A level in dB, -inf included; ValueError where it is none."""
    try:
        level = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no level in dB, such as -6 or -inf") from None
    check_gain(level)
    return level


def check_gain(level: float) -> None:
    """ValueError where a level in dB is none, or so high that it can only be a slip."""
    if math.isnan(level) or level > MAX_GAIN:
        raise ValueError(f"a level in dB is at most {MAX_GAIN:g}, not {level:g}")


def parse_latency(text: str) -> Latency:
    """ "low", "high" or seconds; ValueError where it is none of them."""
    words: dict[str, Latency] = {"low": "low", "high": "high"}
    if text in words:
        return words[text]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 10:
        raise ValueError(f"latency is low, high or seconds from 0 to 10, not {text!r}")
    return seconds


def parse_device(text: str) -> int | str:
    """A device's number, or a part of its name.

    >>> parse_device("3"), parse_device("Scarlett"), parse_device("-")
    (3, 'Scarlett', '-')
    """
    return int(text) if text.isdecimal() else text
