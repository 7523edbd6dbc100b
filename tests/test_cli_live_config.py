"""What `streamsep live` is told: presets, flags, and how they come together."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest

from streamsep.cli import live_flags
from streamsep.cli.live_config import LiveConfig, live_presets, load_preset, settings
from streamsep.config import config_folder, from_dict
from streamsep.errors import StreamsepError

STEMS = ("drums", "bass", "other", "vocals")


def parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    live_flags.add_live_flags(parser)
    return parser.parse_args(flags)


def told(*flags: str) -> LiveConfig:
    return settings(parse(*flags))


def test_without_flags_the_mix_plays_on_the_first_two_outputs() -> None:
    config = told()
    assert config == LiveConfig()
    assert config.parsed_routes == [("mix", (1, 2))]
    assert (config.outputs, config.on_overload, config.queue, config.limited) == (2, "dry", None, True)


def test_every_flag_reaches_its_setting() -> None:
    config = told(
        *("-n", "live-23-small", "--executor", "eager", "-i", "3", "-o", "Scarlett", "--host-api", "ALSA"),
        *("--samplerate", "48000", "--blocksize", "128", "--latency", "0.02", "--exclusive", "--queue", "4"),
        *("--input-channels", "3", "--route", "vocals=1,2", "--route", "drums=5", "--gain", "bass=-6"),
        *("--gain", "other=-inf", "--mute", "drums", "--solo", "vocals", "--input-gain", "3", "--output-gain", "-2.5"),
        *("--limiter", "--on-overload", "mute"),
    )
    assert config == LiveConfig(
        model="live-23-small",
        executor="eager",
        routes=("vocals=1,2", "drums=5"),
        gain={"bass": -6.0, "other": -math.inf},
        mute=("drums",),
        solo=("vocals",),
        input_channels=(3,),
        input_gain=3.0,
        output_gain=-2.5,
        limiter=True,
        on_overload="mute",
        queue=4,
        input_device=3,
        output_device="Scarlett",
        host_api="ALSA",
        samplerate=48000,
        blocksize=128,
        latency=0.02,
        exclusive=True,
    )
    assert config.parsed_routes == [("vocals", (1, 2)), ("drums", (5,))]
    assert config.outputs == 5


def test_every_setting_of_a_preset_has_a_flag() -> None:
    flags = vars(parse())
    assert set(LiveConfig.__dataclass_fields__) - {"description"} <= flags.keys()


@pytest.mark.parametrize(
    ("flags", "limited"),
    [
        (["--route", "vocals=1,2"], False),
        (["--route", "vocals=1,2", "--route", "mix=3,4"], True),
        (["--no-limiter"], False),
        (["--route", "vocals=1", "--limiter"], True),
    ],
)
def test_the_limiter_is_for_mixes_unless_told(flags: list[str], limited: bool) -> None:
    assert told(*flags).limited == limited


def test_a_pipe_is_a_device() -> None:
    config = told("-i", "-", "-o", "-")
    assert (config.input_device, config.output_device) == ("-", "-")


PRESETS = {
    "drummer": LiveConfig(gain={"drums": -20.0}),
    "karaoke": LiveConfig(mute=("vocals",), on_overload="mute"),
    "minus-bass": LiveConfig(mute=("bass",)),
    "minus-drums": LiveConfig(mute=("drums",)),
    "minus-other": LiveConfig(mute=("other",)),
    "minus-vocals": LiveConfig(mute=("vocals",)),
    "monitor": LiveConfig(routes=("drums=1,2", "bass=3,4", "other=5,6", "vocals=7,8")),
}


def test_presets_are_all_there_and_named_in_the_help() -> None:
    assert live_presets() == sorted(PRESETS)
    assert ", ".join(live_presets()) == live_flags.PRESETS
    assert live_flags.PRESETS in live_flags.EXAMPLES


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_mean_what_they_say(name: str) -> None:
    import dataclasses

    config = load_preset(name)
    assert config.description
    assert dataclasses.replace(config, description="") == PRESETS[name]
    config.check_stems(STEMS)


def test_presets_explain_themselves() -> None:
    for path in config_folder("live").glob("*.yaml"):
        assert path.read_text(encoding="utf-8").startswith("# ")


def test_flags_go_over_the_preset() -> None:
    config = told("--preset", "karaoke", "--on-overload", "dry", "--mute", "drums", "--gain", "bass=-3")
    assert (config.mute, config.gain, config.on_overload) == (("vocals", "drums"), {"bass": -3.0}, "dry")
    assert told("--preset", "monitor", "--route", "mix=1,2").routes == ("mix=1,2",)
    assert told("--preset", "drummer", "--gain", "bass=2").gain == {"drums": -20.0, "bass": 2.0}
    assert told("--preset", "drummer", "--gain", "drums=-40").gain == {"drums": -40.0}


def test_a_gain_brings_back_what_the_preset_mutes() -> None:
    config = told("--preset", "karaoke", "--gain", "vocals=-30")
    assert (config.mute, config.gain) == ((), {"vocals": -30.0})
    assert told("--preset", "karaoke", "--gain", "vocals=-30", "--mute", "vocals").mute == ("vocals",)


def test_a_rig_turns_a_stem_off_as_the_flag_does(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text("gain: {vocals: -inf, drums: -.inf}\n")
    assert load_preset(str(tmp_path / "rig.yaml")).gain == {"vocals": -math.inf, "drums": -math.inf}
    (tmp_path / "rig.yaml").write_text("gain: {vocals: inf}\n")
    with pytest.raises(StreamsepError, match="at most 60, not inf"):
        load_preset(str(tmp_path / "rig.yaml"))


def test_flags_are_checked_as_a_preset_is() -> None:
    assert told("--blocksize", "16384").blocksize == 16384
    with pytest.raises(StreamsepError, match=r"^blocksize is at most 16384, not 100000$"):
        told("--blocksize", "100000")


def test_solos_add_up(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("solo: [bass]\n")
    assert told("--preset", str(tmp_path / "a.yaml"), "--solo", "drums").solo == ("bass", "drums")


def test_a_rig_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stage.yaml").write_text(
        "routes: [vocals=3]\ngain: {bass: -.inf, drums: 2}\noutput_device: 5\nlatency: 0.01\ninput_channels: [2]\n"
        "queue: 3\nlimiter: true\nsamplerate: 96000\n"
    )
    config = told("--preset", "stage.yaml")
    assert config == LiveConfig(
        routes=("vocals=3",),
        gain={"bass": -math.inf, "drums": 2.0},
        output_device=5,
        latency=0.01,
        input_channels=(2,),
        queue=3,
        limiter=True,
        samplerate=96000,
    )
    assert told("--preset", str(tmp_path / "stage.yaml")) == config


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("karoke", r"no preset 'karoke' \(did you mean karaoke\?\); choose one of drummer, karaoke, "),
        ("zzz", "no preset 'zzz'; choose one of .* or name a file ending in .yaml"),
        ("nowhere.yaml", "cannot read the configuration nowhere.yaml"),
        ("folder/rig", "cannot read the configuration folder/rig"),
    ],
)
def test_a_preset_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        told("--preset", name)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"gains": {}}, "unknown key 'gains'; known keys are blocksize, description, "),
        ({"routes": []}, "routes is empty"),
        ({"routes": ["drums"]}, "'drums' is not of the form STEM=1,2"),
        ({"routes": ["=1"]}, "not of the form STEM=1,2"),
        ({"routes": ["drums=1,a"]}, "'1,a' is no list of channels"),
        ({"routes": ["drums=1,2,3"]}, "'1,2,3' is not one channel or two different ones"),
        ({"routes": ["drums=2,2"]}, "'2,2' is not one channel or two different ones"),
        ({"routes": ["drums=0,1"]}, "counted from 1 to 256, and '0,1' is outside"),
        ({"routes": ["drums=257"]}, "'257' is outside"),
        ({"routes": "drums=1"}, "expected a list"),
        ({"input_channels": [1, 1]}, "'1,1' is not one channel"),
        ({"input_channels": [0]}, "'0' is outside"),
        ({"gain": {"drums": 61}}, "at most 60, not 61"),
        ({"gain": {"drums": math.nan}}, "at most 60, not nan"),
        ({"gain": {"drums": "loud"}}, "gain.drums: expected float"),
        ({"input_gain": 100}, "at most 60, not 100"),
        ({"output_gain": 100}, "at most 60, not 100"),
        ({"on_overload": "loud"}, "on_overload: expected dry or mute, got 'loud'"),
        ({"queue": 0}, "queue must be at least 1, not 0"),
        ({"samplerate": -1}, "samplerate must be at least 1"),
        ({"blocksize": 0}, "blocksize must be at least 1"),
        ({"blocksize": 16385}, "blocksize is at most 16384, not 16385"),
        ({"latency": "short"}, "latency: expected low or high, got 'short'"),
        ({"latency": 11}, "not '11.0'"),
        ({"latency": -1.0}, "not '-1.0'"),
        ({"mute": "vocals"}, "expected a list"),
        ({"exclusive": 1}, "expected bool"),
    ],
)
def test_mistakes_in_a_preset_are_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        from_dict(LiveConfig, data, "stage.yaml")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--route", "drums"], "argument --route: 'drums' is not of the form STEM=1,2 or STEM=3"),
        (["--route", "drums=1,1"], "argument --route: '1,1' is not one channel or two different ones"),
        (["--input-channels", "1,2,3"], "argument --input-channels: '1,2,3' is not one channel"),
        (["--input-channels", "x"], "'x' is no list of channels; write 1,2 for two or 3 for one"),
        (["--gain", "drums"], "argument --gain: 'drums' is not of the form STEM=DB, such as vocals=-6"),
        (["--gain", "=3"], "not of the form STEM=DB"),
        (["--gain", "drums=x"], "'x' is no level in dB, such as -6 or -inf"),
        (["--gain", "drums=61"], "a level in dB is at most 60, not 61"),
        (["--output-gain", "nan"], "at most 60, not nan"),
        (["--latency", "lowest"], "argument --latency: latency is low, high or seconds"),
        (["--blocksize", "0"], "argument --blocksize: 0 is below 1"),
        (["--seconds", "0"], "'0' is not a positive number"),
        (["--seconds", "1e300"], "'1e300' is above 1e+09"),
        (["--on-overload", "loud"], "invalid choice: 'loud'"),
        (["--pipe-format", "mp3"], "invalid choice: 'mp3'"),
        (["--int24", "--float32"], "not allowed with argument"),
    ],
)
def test_mistakes_in_flags_are_argparses(flags: list[str], message: str) -> None:
    with pytest.raises(argparse.ArgumentError) as error:
        parse(*flags)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        (["--route", "guitar=1"], "routes"),
        (["--gain", "guitar=1"], "gain"),
        (["--mute", "guitar"], "mute"),
        (["--solo", "guitar"], "solo"),
    ],
)
def test_stems_that_the_model_has_not(flags: list[str], where: str) -> None:
    message = rf"no stem 'guitar' \(in {where}\); the stems of this model are drums, bass, other, vocals"
    with pytest.raises(StreamsepError, match=message):
        told(*flags).check_stems(STEMS)


def test_the_mix_is_a_route_but_no_stem() -> None:
    told("--route", "mix=1,2").check_stems(STEMS)
    with pytest.raises(StreamsepError, match="no stem 'mix'"):
        told("--mute", "mix").check_stems(STEMS)
