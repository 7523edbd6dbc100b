"""Families of sounds and the General MIDI programs that belong to them, and to which stem a program goes."""

from __future__ import annotations

PROGRAMS: dict[str, tuple[int, ...]] = {  # bank * 1000 + program, both counted from 0
    "piano": (0, 1, 2, 3, 8000), "electric piano": (4, 5, 8004, 8005), "harpsichord": (6, 7),
    "mallets": (8, 9, 10, 11, 12, 13, 14), "organ": (16, 17, 18, 19, 8016, 8017), "accordion": (21, 22, 23, 8021),
    "nylon guitar": (24, 8024), "acoustic guitar": (25, 8025), "jazz guitar": (26, 8026), "clean guitar": (27, 27, 26,
    8028),
    "muted guitar": (28, 8028), "crunch guitar": (29,), "distorted guitar": (30, 29), "lead guitar": (29, 30),
    "acoustic bass": (32,), "electric bass": (33, 34, 35), "slap bass": (36, 37), "synth bass": (38, 39, 8038, 8039),
    "strings": (48, 49, 44, 45), "synth strings": (50, 51, 8050), "solo strings": (40, 41, 42, 8040),
    "brass": (61, 56, 57, 62, 8061), "saxophone": (65, 66, 64, 67), "flute": (73, 72, 75, 68, 71),
    "synth lead": (80, 81, 84, 87, 82, 8080), "synth pad": (88, 89, 90, 95, 50, 51, 8050), "synth keys": (80, 81, 98,
    99, 55),
    "banjo": (105, 106, 107, 16025), "percussion": (115,),
}  # fmt: skip
SAMPLED: dict[str, tuple[str, ...]] = {  # sampled instruments that may take a family's place
    "electric bass": ("bass finger", "bass pick", "bass growly"), "synth bass": ("bass synth",),
    "clean guitar": ("guitar emily",),
    "nylon guitar": ("guitar spanish",), "acoustic guitar": ("guitar spanish",), "piano": ("piano upright",),
    "jazz guitar": ("guitar emily",), "muted guitar": ("guitar emily",),
}  # fmt: skip
AMPLIFIED = {"distorted guitar": "distorted", "crunch guitar": "crunch", "lead guitar": "distorted"}
_ROLES = (  # first program of a range -> (stem, role)
    (0, "other", "keys"), (16, "other", "organ"), (24, "other", "acoustic guitar"), (26, "other", "rhythm guitar"),
    (29, "other", "rhythm guitar"), (31, "other", "lead guitar"), (32, "bass", "bass"), (40, "other", "strings"),
    (47, "drums", "percussion"), (48, "other", "strings"), (52, "other", "pad"), (55, "other", "keys"), (56, "other",
    "brass"),
    (72, "other", "lead synth"), (80, "other", "lead synth"), (88, "other", "pad"), (104, "other", "keys"),
    (112, "drums", "percussion"), (113, "other", "keys"), (115, "drums", "percussion"), (120, "other", "pad"),
)  # fmt: skip
# Without a voice of their own: choirs would teach that singers belong to `other`, sound effects are not music.
REPLACED = {52: 50, 53: 51, 54: 50, 85: 81, 91: 89, **{program: 89 for program in range(120, 128)}}


def place_program(program: int) -> tuple[str, str]:
    """The (stem, role) of a General MIDI program, counted from 0."""
    return next((stem, role) for first, stem, role in reversed(_ROLES) if program >= first)


def playable(program: int) -> int:
    """The program that is played for one: itself, or a neighbour of voices and sound effects."""
    return REPLACED.get(program, program)


def family_of(program: int) -> str:
    """The family of `PROGRAMS` whose first program is nearest below."""
    families = {programs[0]: family for family, programs in PROGRAMS.items()} | {33: "electric bass"}
    if program in (26, 27):
        return "clean guitar"
    return next(family for first, family in sorted(families.items(), reverse=True) if first <= program)
