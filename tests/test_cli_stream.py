"""`streamsep stream`: what it writes, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamsep.files import read_audio, resample
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.streaming import separate_stream
from tests.engine_toys import NAMES, SHARES, DelaySplit, noise
from tests.models import tiny
from tests.sounds import tones
from tests.stream_runs import song, stems, stream, toy_fixture  # noqa: F401  (a fixture)


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


def test_samples_at_another_rate_are_those_of_the_resampler(tmp_path: Path, toy: DelaySplit) -> None:
    samples = song(tmp_path / "song.wav", noise(3000), 32000)
    assert stream(tmp_path / "song.wav", "-o", tmp_path, "--float32") == 0
    there = resample(samples, 32000, 44100)
    expected = resample(there * np.float32(0.5), 44100, 32000, 3000)
    found = read_audio(tmp_path / "live-23-small" / "song" / "drums.wav")[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
