"""Styles: tempo, grooves, bass lines, harmony and the chairs of the band, from rock and metal to disco and folk."""

from __future__ import annotations

from typing import NamedTuple


class Chair(NamedTuple):
    """A seat in the band for a chord player.

    Attributes:
        role: as in `Part`.
        sounds: families of instruments that may take it (keys of `sounds.PROGRAMS`).
        comping: names of what may be played (keys of `comping.COMPING`).
        odds: how likely the seat is taken.
        player: "chords" (plays nearly always) or "colour" (comes and goes), see `form.draw_rests`.
        lowest: the lowest key of its chords.
    """

    role: str
    sounds: tuple[str, ...]
    comping: tuple[str, ...]
    odds: float
    player: str = "chords"
    lowest: int = 40


class Style(NamedTuple):
    """How a style is played; `share` is how often it is drawn, `drums` and `basses` families of kits and basses."""

    share: float
    tempo: tuple[float, float]
    harmony: tuple[str, ...]
    quiet: tuple[str, ...]
    loud: tuple[str, ...]
    bass: tuple[str, ...]
    chairs: tuple[Chair, ...]
    basses: tuple[str, ...] = ("electric bass",)
    drums: tuple[str, ...] = ("acoustic",)
    lead: tuple[str, ...] = ("lead guitar",)
    swing: float = 0.0
    manner: tuple[str, ...] = ("sung",)


_DISTORTED = Chair("rhythm guitar", ("distorted guitar",), ("power", "power", "ringing", "riff", "driven"), 1.0)
_CRUNCH = Chair("rhythm guitar", ("crunch guitar", "distorted guitar"), ("power", "strummed", "riff", "broken"), 0.9)
_CLEAN = Chair("rhythm guitar", ("clean guitar",), ("broken", "strummed", "off beats"), 0.6)
_ACOUSTIC = Chair(
    "acoustic guitar", ("acoustic guitar", "acoustic guitar", "nylon guitar"), ("strummed", "broken"), 0.5
)
_PIANO = Chair("keys", ("piano", "piano", "electric piano"), ("block", "broken", "pad"), 0.5, "colour")
_ORGAN = Chair("organ", ("organ",), ("pad", "off beats", "block"), 0.35, "colour")
_STRINGS = Chair("strings", ("strings",), ("pad", "pad", "stabs"), 0.35, "colour", 46)
_BRASS = Chair("brass", ("brass", "saxophone"), ("stabs", "stabs", "pad"), 0.4, "colour")
_SYNTH = Chair("pad", ("synth pad",), ("pad",), 0.5, "colour", 45)
_SEQUENCE = Chair("lead synth", ("synth lead", "synth keys"), ("sequence", "broken"), 0.5, "colour", 45)
_CHOPS = Chair("rhythm guitar", ("clean guitar", "muted guitar"), ("chopped",), 0.9)
_TINGLE = Chair("keys", ("mallets", "harpsichord", "electric piano"), ("broken", "sequence"), 0.15, "colour", 52)

STYLES: dict[str, Style] = {
    "rock": Style(
        0.2, (95, 165), ("major", "minor", "power", "blues"),
        ("rock", "rock_busy", "rock_drive", "half_time", "toms", "rock_tribal"),
        ("rock", "rock_open", "rock_ride", "rock_crash", "rock_drive"), ("with kick", "eighths", "eighths",
        "root fifth", "riff"),
        (_DISTORTED, _CRUNCH, _CLEAN._replace(odds=0.35), _ACOUSTIC._replace(odds=0.2), _PIANO._replace(odds=0.2),
        _ORGAN,
         _STRINGS._replace(odds=0.12)), manner=("sung", "sung", "shout")),
    "indie": Style(
        0.06, (105, 160), ("major", "minor", "power"), ("rock", "toms", "rock_tribal", "rock_ride"),
        ("rock_open", "rock_ride", "disco", "rock_drive"), ("eighths", "with kick", "riff"),
        (_CRUNCH, _CLEAN._replace(odds=0.9), _SYNTH._replace(odds=0.3), _ORGAN, _TINGLE)),
    "metal": Style(
        0.12, (95, 185), ("metal",), ("gallop", "rock", "breakdown", "double_kick", "half_time"),
        ("double_kick", "rock_crash", "gallop", "skank", "blast"), ("sixteenths", "with kick", "eighths", "riff"),
        (Chair("rhythm guitar", ("distorted guitar",), ("gallop", "gallop", "riff", "power", "ringing"), 1.0,
        "chords", 38),
         _SYNTH._replace(odds=0.15), _STRINGS._replace(odds=0.15)), manner=("shout", "sung", "sung")),
    "punk": Style(
        0.07, (150, 205), ("power", "major"), ("punk", "d_beat", "rock_drive"), ("d_beat", "skank", "punk",
        "rock_crash"),
        ("eighths", "eighths", "with kick"), (_DISTORTED._replace(comping=("driven", "power")),
        _CRUNCH._replace(odds=0.4)),
        manner=("shout", "sung")),
    "blues": Style(
        0.05, (70, 140), ("blues",), ("shuffle", "shuffle_half", "six_eight", "rock"), ("shuffle", "rock_ride",
        "six_eight"),
        ("walking", "root fifth", "riff"), (_CRUNCH._replace(comping=("power", "riff", "strummed")),
        _ORGAN._replace(odds=0.5),
        _PIANO, _BRASS._replace(odds=0.2))),
    "funk": Style(
        0.08, (88, 120), ("vamp",), ("funk", "funk_linear", "funk_late", "breaks"), ("funk", "funk_ride", "disco"),
        ("funk", "funk", "with kick", "octaves"), (_CHOPS, _BRASS._replace(odds=0.6), _ORGAN,
        _PIANO._replace(odds=0.4)),
        ("electric bass", "slap bass", "electric bass"), swing=0.15, lead=("saxophone", "synth lead", "lead guitar")),
    "pop": Style(
        0.1, (85, 130), ("major", "minor"), ("pop", "pop_claps", "stomp", "half_time"), ("pop", "rock", "disco",
        "house"),
        ("with kick", "eighths", "held", "octaves"), (_PIANO._replace(odds=0.6), _CLEAN, _ACOUSTIC, _SYNTH, _SEQUENCE,
        _STRINGS, _CRUNCH._replace(odds=0.25), _TINGLE), ("electric bass", "synth bass", "electric bass"),
        ("acoustic", "machine", "acoustic"), ("synth lead", "lead guitar", "flute")),
    "ballad": Style(
        0.06, (60, 84), ("major", "minor", "seventh"), ("slow_ride", "ballad", "slow", "six_eight"), ("slow", "rock",
        "six_eight"),
        ("held", "root fifth", "with kick"), (_PIANO._replace(odds=0.85, player="chords"), _STRINGS._replace(odds=0.6),
        _ACOUSTIC, _CLEAN, _SYNTH, _CRUNCH._replace(odds=0.25)), manner=("sung", "soft")),
    "soul": Style(
        0.05, (80, 125), ("seventh", "major", "vamp"), ("soul", "motown", "funk_late", "rock_busy"), ("motown",
        "soul", "funk"),
        ("with kick", "walking", "funk"), (_CHOPS._replace(comping=("chopped", "off beats", "broken")),
        _PIANO._replace(odds=0.6), _ORGAN._replace(odds=0.6), _BRASS._replace(odds=0.6), _STRINGS),
        lead=("saxophone", "lead guitar"), swing=0.08),
    "reggae": Style(
        0.04, (66, 90), ("minor", "major", "vamp"), ("one_drop", "reggae", "steppers"), ("one_drop", "steppers",
        "reggae"),
        ("off the one", "with kick"), (Chair("rhythm guitar", ("clean guitar", "muted guitar"), ("off beats",), 1.0),
        _ORGAN._replace(odds=0.8, comping=("off beats",)), _BRASS, _PIANO._replace(comping=("off beats",))),
        lead=("saxophone", "lead guitar", "flute"), swing=0.2),
    "disco": Style(
        0.04, (108, 130), ("seventh", "minor", "vamp"), ("disco", "club"), ("disco", "house"), ("octaves", "funk",
        "with kick"),
        (_CHOPS, _STRINGS._replace(odds=0.8), _PIANO, _BRASS, _SYNTH), ("electric bass", "slap bass", "synth bass"),
        ("acoustic", "acoustic", "machine"), ("strings", "synth lead", "saxophone")),
    "hiphop": Style(
        0.05, (68, 98), ("minor", "vamp", "drone"), ("boom_bap", "trap"), ("boom_bap", "trap"), ("sub", "held",
        "with kick"),
        (_PIANO._replace(odds=0.6), _TINGLE._replace(odds=0.4), _STRINGS, _SYNTH, _CHOPS._replace(odds=0.2)),
        ("synth bass", "synth bass", "electric bass"), ("machine", "machine", "mixed", "acoustic"), ("flute",
        "synth lead"),
        manner=("rap", "rap", "sung")),
    "electronic": Style(
        0.06, (100, 174), ("drone", "minor", "major"), ("house", "club", "electro", "breaks"), ("house", "club",
        "breaks"),
        ("off beat", "octaves", "held", "sub", "eighths"), (_SEQUENCE._replace(odds=0.9), _SYNTH._replace(odds=0.9),
        _PIANO._replace(odds=0.3), _TINGLE), ("synth bass",), ("machine", "machine", "mixed"), ("synth lead",)),
    "folk": Style(
        0.06, (80, 140), ("folk", "major"), ("train", "stomp", "ballad", "six_eight"), ("train", "stomp", "rock_busy"),
        ("root fifth", "held", "walking"), (_ACOUSTIC._replace(odds=1.0), _ACOUSTIC._replace(odds=0.4,
        comping=("broken",)),
        Chair("keys", ("accordion", "banjo", "piano"), ("broken", "pad"), 0.6, "colour", 48),
        _STRINGS._replace(odds=0.2)),
        ("electric bass", "acoustic bass"), lead=("flute", "strings", "accordion", "nylon guitar")),
    "jazz": Style(
        0.03, (90, 180), ("seventh", "blues"), ("swing", "bossa", "samba"), ("swing", "samba", "funk_ride"),
        ("walking", "root fifth"),
        (_PIANO._replace(odds=0.8, player="chords"), _CLEAN._replace(odds=0.4), _BRASS), ("acoustic bass",
        "electric bass"),
        lead=("saxophone", "brass", "jazz guitar", "flute")),
}  # fmt: skip
