"""What songs are made of: which MIDI songs, kits, presets, instruments and singers one configuration may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from streamsep.config import from_dict, read_yaml
from streamsep.errors import StreamsepError
from streamsep.models.config_checks import check_range
from streamsep.training.practice_samples import Instrument, Pieces, acoustic_pieces, one_shot_pieces, read_maps
from streamsep.training.songs.players import Studio
from streamsep.training.songs.soundfont import DRUM_BANK, SoundFont

_INSTRUMENTS = {  # name -> (maps, semitones that they are written above their sound)
    "bass finger": ("bass_electric_yr/Finger*.sfz", 0), "bass pick": ("bass_electric_yr/Picked*.sfz", 0),
    "bass growly": ("bass_growly/growlybass_clean.sfz", 12), "bass synth": ("bass_synth1/*.sfz", 0),
    "guitar emily": ("guitar_emily/emily_clean.sfz", 0), "guitar spanish": ("guitar_spanish/*.sfz", 0),
    "piano upright": ("piano_upright_kw/*.sfz", 0),
}  # fmt: skip
_FONTS = {"fluid": "sf2/FluidR3_GM.sf2", "musescore": "sf3/MuseScore_General_Full.sf3"}
LICENCES = {
    "fluid": "FluidR3 GM, Frank Wen, MIT", "musescore": "MuseScore General, S. Christian Collins and others, MIT",
    "bass finger": "FreePats, CC0", "bass pick": "FreePats, CC0", "bass growly": "Karoryfer Samples, CC0",
    "bass synth": "FreePats, CC0", "guitar emily": "Karoryfer Samples, CC0", "guitar spanish": "FreePats, CC0",
    "piano upright": "FreePats, CC0", "acoustic muldjord": "MuldjordKit, Lars Muldjord, CC BY 4.0",
    "machine": "recordings of drum machines, public domain", "mixed uzu": "uzu drumkit, Unlicense",
    "mixed sonicpi": "Sonic Pi, CC0", "made": "made up for the song, of no recording",
    "midi": "Freedoom, BSD-3-Clause",
    "yuki": "yuki, public domain", "dorodoro": "dorodoro, free with credit",
    "scottpoid": "SCOTTPOID, free with credit, no hateful or illegal content", "erithacus": "erithacus, CC BY 4.0",
    "oatsu_song": "oatsu, MIT", "kerstin_speech": "Kerstin, CC0",
}  # fmt: skip


@dataclass(frozen=True)
class SongsConfig:
    """What rendered songs may use, as written in `configs/songs/train.yaml` and `test.yaml`.

    Attributes:
        test: whether the singers are those held out, or all others.
        midi: names of MIDI files, without suffix.
        share: of the songs that are read from MIDI, 0..1; the rest is composed.
        kits: sampled drum kits.
        drum_programs: drum kits of the soundfonts.
        instruments: sampled instruments.
        presets: presets of the soundfonts, bank * 1000 + program.
        made: how often a part is played on an instrument or kit that is made up for it, 0..1.
        seed: added to every song's seed, so that no two configurations make the same song.
    """

    test: bool = False
    midi: tuple[str, ...] = ()
    share: float = 0.3
    kits: tuple[str, ...] = ()
    drum_programs: tuple[int, ...] = ()
    instruments: tuple[str, ...] = ()
    presets: tuple[int, ...] = field(default=())
    made: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("share", "made"):
            check_range(name, getattr(self, name), 0, 1)
        unknown = sorted(set(self.instruments) - set(_INSTRUMENTS))
        if unknown:
            raise ValueError(f"instruments names {unknown[0]!r}; known are {', '.join(sorted(_INSTRUMENTS))}")


def read_songs_config(path: Path) -> SongsConfig:
    """The configuration in a YAML file."""
    return from_dict(SongsConfig, read_yaml(path), str(path))


def open_studio(config: SongsConfig, instruments: Path | None, soundfonts: Path) -> Studio:
    """The instruments that a configuration allows and that are there.

    Args:
        config: what is allowed.
        instruments: folder of sampled instruments and kits; None for the soundfonts alone.
        soundfonts: folder with sf2/ and sf3/ as Debian has it (/usr/share/sounds), or one soundfont.

    Raises:
        StreamsepError: no soundfont, or FluidSynth is missing.
    """
    if soundfonts.is_file():
        fonts = {f"file {soundfonts.stem}": SoundFont(soundfonts)}  # a name that is none of LICENCES
    else:
        fonts = {
            name: SoundFont(soundfonts / place) for name, place in _FONTS.items() if (soundfonts / place).is_file()
        }
    if not fonts:
        raise StreamsepError(
            f"no General MIDI soundfont in {soundfonts}; run: apt-get install fluidsynth fluid-soundfont-gm"
        )
    found = {name: (instruments, pattern, shift) for name, (pattern, shift) in _INSTRUMENTS.items() if instruments}
    sampled: dict[str, tuple[Instrument, int]] = {}
    for name, (folder, pattern, shift) in found.items():
        maps = read_maps(sorted(folder.glob(pattern))) if folder and name in config.instruments else []
        if maps:
            sampled[name] = (maps[0], shift)
    kits = {name: kit for name, kit in _kits(instruments).items() if name in config.kits} if instruments else {}
    presets = {p for p in config.presets if any(font.has(p // 1000, p % 1000) for font in fonts.values())}
    drums = tuple(p for p in config.drum_programs if any(font.has(DRUM_BANK, p) for font in fonts.values()))
    return Studio(fonts, frozenset(presets), kits, drums, sampled, config.made)


def _kits(folder: Path) -> dict[str, Pieces]:
    kits = {"acoustic muldjord": acoustic_pieces(folder / "drums_muldjordkit")}
    machines = folder / "drums_machines"
    if machines.is_dir():
        kits |= {
            f"machine {place.name}": one_shot_pieces(place) for place in sorted(machines.iterdir()) if place.is_dir()
        }
    kits["mixed uzu"] = one_shot_pieces(folder / "drums_uzu")
    kits["mixed sonicpi"] = one_shot_pieces(folder / "sonicpi/etc/samples")
    return {name: kit for name, kit in kits.items() if {"kick", "snare", "hat"} <= set(kit)}
