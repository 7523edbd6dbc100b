"""`streamsep stream`: what it writes, what it prints, and how it fails."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from streamsep.cli import main
from streamsep.files import Samples, read_audio, resample
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.streaming import separate_stream
from tests.engine_toys import NAMES, SHARES, DelaySplit, noise
from tests.models import tiny
from tests.sounds import plain_user, tones


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> DelaySplit:
    """A separator that stands in for every model."""
    separator = DelaySplit(hop=64, latency=96)
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: separator)
    return separator


def song(path: Path, samples: Samples | None = None, rate: int = 44100) -> Samples:
    """Write a short song; returns what reading gives back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (noise(5000) if samples is None else samples).T, rate, subtype="FLOAT")
    return read_audio(path)[0]


def stream(*arguments: str | Path) -> int:
    return main(["stream", *map(str, arguments), "--device", "cpu"])


def stems(folder: Path, suffix: str = "wav") -> Samples:
    """All stems `[S, C, T]`."""
    return np.stack([read_audio(folder / f"{name}.{suffix}")[0] for name in NAMES])


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("block", ["64", "256", "100", "16"])
def test_stems_are_the_model_s_aligned_with_the_song(tmp_path: Path, block: str) -> None:
    samples = song(tmp_path / "song.wav")
    assert stream(tmp_path / "song.wav", "-o", tmp_path / "out", "--block", block, "--float32") == 0
    expected = np.array(SHARES, np.float32)[:, None, None] * samples
    np.testing.assert_array_equal(stems(tmp_path / "out" / "live-23-small" / "song"), expected)


def test_a_real_model_gives_what_it_gives_without_the_engine(tmp_path: Path) -> None:
    model = tiny()
    save_checkpoint(model, tmp_path / "tiny.safetensors", {})
    samples = song(tmp_path / "song.wav", noise(2000))
    arguments = ("-n", tmp_path / "tiny.safetensors", "-o", tmp_path, "--block", "24", "--float32")
    assert stream(tmp_path / "song.wav", *arguments) == 0
    expected = separate_stream(model, torch.from_numpy(samples)[None], chunk_hops=1)[0].numpy()
    np.testing.assert_allclose(stems(tmp_path / "tiny" / "song"), expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("toy")
def test_in_real_time_the_stems_add_up_to_the_song_whatever_the_machine_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = song(tmp_path / "song.wav", noise(11025))
    figures = tmp_path / "figures.json"
    arguments = ("-o", tmp_path, "--realtime", "--queue", "8", "--float32", "--json", figures)
    assert stream(tmp_path / "song.wav", *arguments) == 0
    found = stems(tmp_path / "live-23-small" / "song")
    np.testing.assert_allclose(found.sum(axis=0), samples, atol=1e-6)
    if json.loads(figures.read_text())["dry_blocks"] == 0:
        np.testing.assert_array_equal(found[0], samples * np.float32(0.5))
    assert "late hops" in capsys.readouterr().out


@pytest.mark.usefixtures("toy")
def test_the_queue_is_measured_where_none_is_given(tmp_path: Path) -> None:
    song(tmp_path / "song.wav", noise(2000))
    figures = tmp_path / "figures.json"
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--realtime", "--block", "64", "--json", figures) == 0
    queue = json.loads(figures.read_text())["budget"]["queue_frames"]
    assert queue >= 64
    assert queue % 64 == 0


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("channels", "rate"), [(1, 44100), (2, 22050), (2, 96000)])
def test_rate_length_and_mono_are_the_song_s(tmp_path: Path, channels: int, rate: int) -> None:
    samples = song(tmp_path / "song.wav", tones(rate, 0.21, *[440.0] * channels), rate)
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--float32") == 0
    folder = tmp_path / "live-23-small" / "song"
    assert read_audio(folder / "bass.wav")[1] == rate
    found = stems(folder).sum(axis=0)
    assert found.shape == samples.shape
    inner = slice(rate // 20, -rate // 20)
    np.testing.assert_allclose(found[:, inner], samples[:, inner], atol=5e-3)


@pytest.mark.usefixtures("toy")
def test_seconds_cut_the_song(tmp_path: Path) -> None:
    song(tmp_path / "song.wav")
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--seconds", "0.05") == 0
    assert stems(tmp_path / "live-23-small" / "song").shape[2] == 2205


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("flags", "suffix"), [(["--format", "flac", "--int24"], "flac"), (["--format", "mp3"], "mp3")])
def test_other_formats(tmp_path: Path, flags: list[str], suffix: str) -> None:
    samples = song(tmp_path / "song.wav", tones(44100, 0.3, 300, 500))
    assert stream(tmp_path / "song.wav", "-o", tmp_path, *flags) == 0
    found = stems(tmp_path / "live-23-small" / "song", suffix)[0]
    np.testing.assert_allclose(found[:, 2000:8000], samples[:, 2000:8000] / 2, atol=0.02 if suffix == "mp3" else 1e-6)


@pytest.mark.usefixtures("toy")
def test_gains_turn_stems_and_write_the_remix(tmp_path: Path) -> None:
    samples = song(tmp_path / "song.wav")
    gains = ("--gain", "vocals=-inf", "--gain", "drums=-20")
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--float32", *gains) == 0
    folder = tmp_path / "live-23-small" / "song"
    found = stems(folder)
    np.testing.assert_array_equal(found[3], 0 * samples)
    np.testing.assert_allclose(found[0], 0.05 * samples, atol=1e-7)
    np.testing.assert_allclose(read_audio(folder / "remix.wav")[0], found.sum(axis=0), atol=1e-7)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("flags", [[], ["--int24"], ["--format", "flac"], ["--float32"]])
def test_what_is_too_loud_for_a_file_turns_all_of_them_down_alike(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    samples = song(tmp_path / "song.wav", tones(44100, 0.2, 300, 500))
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--gain", "drums=20", *flags) == 0
    wanted = np.array([10 * SHARES[0], *SHARES[1:]], np.float32)[:, None, None] * samples
    peak = np.abs(wanted.sum(axis=0)).max()
    share, folder = 1 if flags == ["--float32"] else 1 / (1.01 * peak), tmp_path / "live-23-small" / "song"
    suffix = "flac" if "flac" in flags else "wav"
    np.testing.assert_allclose(stems(folder, suffix), share * wanted, atol=1e-4)
    np.testing.assert_allclose(read_audio(folder / f"remix.{suffix}")[0], share * wanted.sum(axis=0), atol=1e-4)
    told = capsys.readouterr().err
    assert ("wav and --float32" in told and f"{peak:.3g} times full scale" in told) == (share < 1)


def test_true_stems_give_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str], toy: DelaySplit) -> None:
    samples = song(tmp_path / "song.wav")
    truth = tmp_path / "truth"
    # Drums as the toy makes them; bass twice as loud as the toy's; other and vocals something else altogether.
    song(truth / "drums.wav", samples * np.float32(0.5))
    song(truth / "bass.wav", samples * np.float32(0.5))
    song(truth / "other.wav", noise(5000, seed=7))
    soundfile.write(truth / "vocals.flac", noise(5000, seed=8).T, 44100)
    figures = tmp_path / "deep" / "figures.json"
    arguments = ("-o", tmp_path, "--stems", truth, "--json", figures, "--float32")
    assert stream(tmp_path / "song.wav", *arguments) == 0
    scores = {score["stem"]: score for score in json.loads(figures.read_text())["scores"]}
    assert scores["drums"]["sdr"] is None, "infinite: json has no number for it"
    assert scores["bass"]["sdr"] == pytest.approx(6.02, abs=0.01)
    assert scores["bass"]["baseline"] is None or scores["bass"]["baseline"] > 100
    assert scores["vocals"]["sdr"] < 0.5
    text = capsys.readouterr().out
    assert "SI-SDR" in text
    assert len([line for line in text.splitlines() if line.startswith(NAMES)]) == 4


def test_scores_are_those_of_the_stems_before_they_are_turned_down(tmp_path: Path, toy: DelaySplit) -> None:
    samples = song(tmp_path / "song.wav", 12 * tones(44100, 0.2, 300, 500))
    truth, figures = tmp_path / "truth", tmp_path / "figures.json"
    for name, share in zip(NAMES, SHARES, strict=True):
        song(truth / f"{name}.wav", samples * np.float32(share))
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--stems", truth, "--json", figures) == 0
    assert np.abs(stems(tmp_path / "live-23-small" / "song")).max() == pytest.approx(1 / 1.01, abs=1e-4)
    assert [score["sdr"] for score in json.loads(figures.read_text())["scores"]] == [None] * 4, "infinite"


@pytest.mark.usefixtures("toy")
def test_what_is_printed_names_latency_times_and_misses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song(tmp_path / "song.wav")
    figures = tmp_path / "figures.json"
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--block", "64", "--json", figures) == 0
    text = capsys.readouterr().out
    for word in ("blocking", "queue", "total", "p50", "p99.9", "RTF", "0 late hops", "vocals.wav"):
        assert word in text
    data = json.loads(figures.read_text())
    assert data["budget"]["total_frames"] == 96 + 0 + 64 + 64 + 64
    assert data["times"]["steps"] > 70
    assert (data["model"], data["executor"], data["realtime"], data["block"]) == ("live-23-small", "eager", False, 64)
    assert Path(data["files"]["vocals"]).is_file()


def test_ctrl_c_ends_cleanly(
    tmp_path: Path, toy: DelaySplit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav", noise(200_000))
    calls: list[float] = []

    def wait(self: Any, timeout: float) -> bool:
        calls.append(timeout)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr("streamsep.engine.stream.Stream.wait", wait)
    before = threading.active_count()
    assert stream(tmp_path / "song.wav", "-o", tmp_path / "out", "--realtime", "--queue", "4") == 130
    assert threading.active_count() == before
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert "late hops" in capsys.readouterr().out


def test_a_model_that_fails_in_the_middle_is_one_sentence(
    tmp_path: Path, toy: DelaySplit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    step, steps = DelaySplit.step, []

    def fail(mix: Any, state: Any) -> Any:
        steps.append(1)
        if len(steps) == 20:
            raise RuntimeError("boom")
        return step(toy, mix, state)

    monkeypatch.setattr(toy, "step", fail)
    assert stream(tmp_path / "song.wav", "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "streamsep: error: the model failed in the middle of the stream: RuntimeError: boom"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.wav"], "there is no file"),
        (["song.wav", "--stems", "nowhere"], "check --stems"),
        (["song.wav", "--executor", "quick"], "choose one of"),
        (["song.wav", "--executor", "cuda-graph"], "--executor eager"),
        (["song.wav", "--gain", "guitar=0"], "there is no stem"),
        (["song.wav", "--format", "flac", "--float32"], "flac holds"),
        (["song.wav", "--format", "mp3", "--int24"], "leave out --int24, or --format mp3"),
        (["song.wav", "--format", "mp3", "--float32"], "leave out --float32, or --format mp3"),
        (["song.wav", "--seconds", "1e-9"], "longer part"),
        (["song.wav", "--json", "song.wav/x.json"], "choose another --json"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    song(tmp_path / "song.wav")
    assert stream(*arguments, "-o", "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("streamsep: error: ")
    assert message in error


@pytest.mark.parametrize(
    "flags", [["--gain", "vocals"], ["--gain", "vocals=loud"], ["--seconds", "0"], ["--block", "0"]]
)
def test_wrong_usage_is_argparses(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        stream("song.wav", *flags)
    assert stop.value.code == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gain", "message"),
    [
        ("vocals", "'vocals' is not of the form STEM=DB, such as vocals=-6"),
        ("vocals=loud", "'loud' is no level in dB, such as -6 or -inf"),
        ("vocals=nan", "a level in dB is at most 60, not nan"),
        ("vocals=61", "a level in dB is at most 60, not 61"),
    ],
)
def test_a_gain_is_refused_as_by_live(gain: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["stream", "song.wav"], ["live"]):
        with pytest.raises(SystemExit):
            main([*command, "--gain", gain])
        assert capsys.readouterr().err.endswith(f"error: argument --gain: {message}\n")


@pytest.mark.usefixtures("toy")
def test_a_folder_without_permission_is_known_before_the_song(
    shared_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song(shared_tmp_path / "song.wav")
    shared_tmp_path.chmod(0o555)
    with plain_user():
        assert stream(shared_tmp_path / "song.wav", "-o", shared_tmp_path / "out") == 1
    shared_tmp_path.chmod(0o755)
    captured = capsys.readouterr()
    assert "cannot write into" in captured.err
    assert captured.out == ""


@pytest.mark.usefixtures("toy")
def test_the_song_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "live-23-small" / "bass" / "bass.wav"
    samples = song(path)
    assert stream(path, "-o", tmp_path) == 1
    assert "is the song itself" in capsys.readouterr().err
    np.testing.assert_array_equal(read_audio(path)[0], samples)


def test_an_offline_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: torch.nn.Linear(2, 2))
    assert stream(tmp_path / "song.wav", "-n", "htdemucs") == 1
    assert "htdemucs is an offline model, which streams only with some future in view" in capsys.readouterr().err


def test_samples_at_another_rate_are_those_of_the_resampler(tmp_path: Path, toy: DelaySplit) -> None:
    samples = song(tmp_path / "song.wav", noise(3000), 32000)
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--float32") == 0
    there = resample(samples, 32000, 44100)
    expected = resample(there * np.float32(0.5), 44100, 32000, 3000)
    found = read_audio(tmp_path / "live-23-small" / "song" / "drums.wav")[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
