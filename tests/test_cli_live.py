"""`streamsep live`: what is heard for which flags, on a device without hardware."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from streamsep.cli import live_device, main
from streamsep.cli.live_config import LiveConfig
from streamsep.cli.live_device import PipeForm
from streamsep.cli.live_display import make_display
from streamsep.engine.backends.clocked import Clocking, Faults
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.backends.pa_library import quiet_stderr
from streamsep.files import read_audio
from tests.engine_toys import NAMES, SHARES, Audio, DelaySplit, noise

# Of the toy on blocks of one hop: a block of queue, the fade, the model.
LAG = 64 + 64 + 96
DRUMS, BASS, OTHER, VOCALS = SHARES


class Rig:
    """`streamsep live` with a toy for a model and an array for a device."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.toy = DelaySplit(hop=64, latency=96)
        self.samples = noise(4000) * np.float32(0.5)
        self.faults: Faults | None = None
        self.device: FakeDevice | None = None
        monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: self.toy)
        monkeypatch.setattr(live_device, "open_device", self._open)

    def _open(self, config: LiveConfig, pipe: PipeForm, lock_step: bool) -> FakeDevice:
        block = config.blocksize or 64
        rate = config.samplerate or 44100
        device = FakeDevice(
            self.samples, config.outputs, sample_rate=rate, clocking=Clocking(block), faults=self.faults
        )
        self.device = device
        return device

    def live(self, *flags: str) -> int:
        return main(["live", "--worker", "thread", "--executor", "eager", "-d", "cpu", *flags])

    def played(self, *flags: str) -> Audio:
        """What the device was made to play, the lag taken out: `[outputs, T]`."""
        assert self.live(*flags) == 0
        assert self.device is not None
        return self.device.played[:, LAG : LAG + self.samples.shape[1]]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def same(found: Audio, expected: Audio) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_mix_plays_after_the_declared_lag(rig: Rig) -> None:
    same(rig.played(), rig.samples)
    assert rig.device is not None
    assert not rig.device.played[:, :LAG].any()


def test_monitor_gives_each_stem_its_outputs(rig: Rig) -> None:
    same(rig.played("--preset", "monitor"), np.concatenate([rig.samples * share for share in SHARES]))


@pytest.mark.parametrize(
    ("preset", "gain"),
    [
        ("karaoke", 1 - VOCALS),
        ("drummer", 1 - DRUMS + 0.1 * DRUMS),
        ("minus-drums", 1 - DRUMS),
        ("minus-bass", 1 - BASS),
        ("minus-other", 1 - OTHER),
        ("minus-vocals", 1 - VOCALS),
    ],
)
def test_presets_sound_as_they_say(rig: Rig, preset: str, gain: float) -> None:
    same(rig.played("--preset", preset), rig.samples * np.float32(gain))


@pytest.mark.parametrize("preset", ["karaoke", "drummer", "minus-vocals"])
def test_karaoke_never_plays_the_mix_and_the_others_do_when_the_model_is_late(rig: Rig, preset: str) -> None:
    rig.faults = Faults(stalled=frozenset(range(20, 40)))
    mutes = [flag for name in NAMES for flag in ("--mute", name)]
    played = rig.played("--preset", preset, *mutes)
    assert not played[:, :1000].any()
    during = played[:, 25 * 64 : 35 * 64]
    same(during, 0 * during if preset == "karaoke" else rig.samples[:, 25 * 64 : 35 * 64])


@pytest.mark.parametrize(
    ("flags", "gains"),
    [
        (["--mute", "drums"], [1 - DRUMS]),
        (["--solo", "bass", "--solo", "other"], [BASS + OTHER]),
        (["--gain", "drums=-inf", "--gain", "bass=6.0205999"], [2 * BASS + OTHER + VOCALS]),
        (["--route", "vocals=1,2", "--route", "mix=3,4"], [VOCALS, 1]),
        (["--route", "vocals=3,4", "--route", "drums=1,2", "--mute", "drums"], [0, VOCALS]),
        (["--route", "drums=1,2", "--route", "bass=1,2"], [DRUMS + BASS]),
        (["--route", "mix=3,4", "--mute", "vocals"], [0, 1 - VOCALS]),
        (["--input-gain", "-6.0205999"], [0.5]),
        (["--output-gain", "-6.0205999"], [0.5]),
    ],
)
def test_flags_that_are_heard(rig: Rig, flags: list[str], gains: list[float]) -> None:
    same(rig.played(*flags), np.concatenate([rig.samples * np.float32(gain) for gain in gains]))


def test_a_mono_route_gets_half_of_each_side(rig: Rig) -> None:
    played = rig.played("--route", "drums=2")
    same(played, np.stack([0 * rig.samples[0], DRUMS * rig.samples.mean(axis=0)]))


def test_a_mono_input_is_heard_on_both_sides(rig: Rig) -> None:
    same(rig.played("--input-channels", "2"), np.stack([rig.samples[1], rig.samples[1]]))


def test_sides_can_be_swapped(rig: Rig) -> None:
    same(rig.played("--input-channels", "2,1"), rig.samples[::-1])


@pytest.mark.parametrize(
    ("flags", "limited"), [([], True), (["--no-limiter"], False), (["--route", "drums=1,2"], False)]
)
def test_the_limiter_holds_a_mix_unless_told(rig: Rig, flags: list[str], limited: bool) -> None:
    loudest = np.abs(rig.played("--input-gain", "20", *flags)).max()
    assert loudest <= 1 if limited else loudest > 1.2


def test_seconds_end_it(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.live("--seconds", "0.02") == 0
    assert rig.device is not None
    assert rig.device.played.shape[1] == 14 * 64  # the blocks that hold 882 frames
    assert "in 0.0 s" in capsys.readouterr().out


def test_a_recording_holds_the_mix_and_every_stem(rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.live("--record", str(tmp_path / "takes"), "--float32", "--mute", "bass") == 0
    (folder,) = (tmp_path / "takes").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.wav" for name in ("mix", *NAMES))
    mix, rate = read_audio(folder / "mix.wav")
    assert rate == 44100 and mix.shape[1] >= 4000
    np.testing.assert_array_equal(mix[:, :4000], rig.samples)  # all of it, from the first sample on
    for name, share in zip(NAMES, SHARES, strict=True):
        same(read_audio(folder / f"{name}.wav")[0], mix * np.float32(share))
    assert f"recorded mix.wav, drums.wav, bass.wav, other.wav, vocals.wav in {folder}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "suffix", "subtype"),
    [
        (["--int24"], "wav", "PCM_24"),
        (["--record-format", "flac"], "flac", "PCM_16"),
    ],
)
def test_recordings_in_other_formats(rig: Rig, tmp_path: Path, flags: list[str], suffix: str, subtype: str) -> None:
    import soundfile

    assert rig.live("--record", str(tmp_path), *flags) == 0
    assert soundfile.info(next(tmp_path.glob(f"*/mix.{suffix}"))).subtype == subtype


def test_json_is_a_line_an_object(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.live("--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    objects = [json.loads(line) for line in captured.out.splitlines()]
    assert [item["text"] for item in objects if item["kind"] == "event"] == [
        "loading the model ...",
        "2 in, 2 out at 44100 Hz, blocks of 64, a queue of 1; eager; 6.5 ms from input to output",
    ]
    assert objects[-1]["kind"] == "report"
    assert objects[-1]["budget"]["total_frames"] == LAG + 64
    assert objects[-1]["times"]["steps"] > 60


def test_without_a_terminal_the_report_is_all_that_stdout_gets(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.live() == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("latency ") and "misses" in captured.out
    assert captured.err.splitlines()[0] == "streamsep: loading the model ..."


def test_nothing_is_left_running(rig: Rig) -> None:
    assert rig.live() == 0
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("streamsep")] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "loud"], "there is no preset 'loud'"),
        (["--mute", "guitar"], "there is no stem 'guitar' (in mute); the stems of this model are drums, bass, other, "),
        (["--route", "guitar=1"], "there is no stem 'guitar' (in routes)"),
        (["--record-format", "flac", "--float32"], "flac holds 16 or 24 bits"),
        (["--executor", "quick"], "unknown executor 'quick'"),
        (["-d", "toaster"], "the device 'toaster' is not usable"),
        (["--queue", "10000"], "a queue lasts at most 10 s"),
        (["--callback", "compiled", "--input-channels", "3"], "input channels 3 are not all there"),
        (["--pipe-format", "s16le", "--pipe-channels", "1"], "--pipe-format and --pipe-channels would be ignored"),
        (["-i", "-", "-o", "-", "--latency", "high"], "--latency would be ignored, for the sound goes through pipes"),
        (["-i", "-", "-o", "-", "--host-api", "JACK", "--exclusive"], "--host-api and --exclusive would be ignored"),
        (["-i", "-", "-o", "-", "--callback", "compiled"], "--callback compiled would be ignored"),
    ],
)
def test_mistakes_are_one_sentence(
    rig: Rig, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rig.live(*flags) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("streamsep: error: ") and message in error


def test_what_is_told_arrives_while_c_libraries_are_silenced(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", open(2, "w", closefd=False))  # noqa: SIM115
    display = make_display(as_json=False, sound_on_stdout=True)
    with quiet_stderr():
        os.write(2, b"from a C library\n")
        display.tell("the device is gone")
    assert capfd.readouterr().err == "streamsep: the device is gone\n"


def test_a_closed_stderr_does_not_disturb_the_display(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert rig.live() == 0
    sys.stderr.close()
    assert "misses" in capsys.readouterr().out


def test_the_help_promises_keys_for_no_number_of_stems(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["live", "--help"])
    text = capsys.readouterr().out
    assert "the number of a stem mutes it" in text and "1 to 4" not in text


def test_a_recording_that_cannot_begin_ends_it(rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert rig.live("--record", str(tmp_path / "file")) == 1
    assert "streamsep: error: " in capsys.readouterr().err
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("streamsep")] == []


def test_the_list_of_devices_is_that_of_devices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streamsep.engine.backends.pa_devices.list_devices", lambda: [])
    assert main(["devices"]) == 1
    expected = capsys.readouterr().err
    assert main(["live", "-l"]) == 1
    assert capsys.readouterr().err == expected
