"""`streamsep separate` with an offline model: its stems, its segments, and how the work is shared."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from streamsep.cli import songs as _songs
from streamsep.files import read_audio
from streamsep.models import precision
from streamsep.models.apply import apply_model
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from tests.separate_runs import separate, song, stems


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[HTDemucs, Path]:
    """A small offline model with random weights, and its checkpoint."""
    torch.manual_seed(1)
    config = HTDemucsConfig(channels=8, bottom_channels=0, layers=1, heads=2, nfft=512, depth=2, segment=0.3)
    model = HTDemucs(config).eval()
    path = tmp_path_factory.mktemp("offline") / "tiny.safetensors"
    save_checkpoint(model, path, {})
    return model, path


def test_offline_stems_are_what_apply_gives(tmp_path: Path, offline: tuple[HTDemucs, Path]) -> None:
    model, path = offline
    samples = song(tmp_path / "song.wav")
    flags = ["--overlap", "0.5", "--segment", "0.2", "--float32", "--clip-mode", "none"]
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", path, *flags) == 0
    found = stems(tmp_path / "tiny" / "song")
    mix = torch.from_numpy(read_audio(tmp_path / "song.wav")[0])[None]
    level = mix.mean(1).std(correction=0)
    expected = apply_model(model, (mix - mix.mean()) / level, overlap=0.5, segment=0.2)[0] * level + mix.mean()
    for name, stem in zip(model.sources, expected, strict=True):
        assert found[name][0].shape == samples.shape
        np.testing.assert_allclose(found[name][0], stem, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flags", [["--precision", "bf16", "--batch", "2"], ["--precision", "int8"]])
def test_narrower_numbers_move_the_stems_a_little(
    tmp_path: Path, offline: tuple[HTDemucs, Path], flags: list[str]
) -> None:
    song(tmp_path / "song.wav")
    for out, more in (("exact", []), ("near", flags)):
        assert separate(tmp_path / "song.wav", "-o", tmp_path / out, "-n", offline[1], "--float32", *more) == 0
    exact, near = (stems(tmp_path / out / "tiny" / "song") for out in ("exact", "near"))
    error = max(float(np.abs(near[name][0] - exact[name][0]).max()) for name in exact)
    assert 0 < error < 0.02 * max(float(np.abs(stem).max()) for stem, _ in exact.values())


@pytest.mark.parametrize(("jobs", "workers"), [("1", None), ("2", 1)])
def test_how_the_work_is_shared(
    tmp_path: Path,
    offline: tuple[HTDemucs, Path],
    monkeypatch: pytest.MonkeyPatch,
    jobs: str,
    workers: int | None,
) -> None:
    given: list[dict[str, object]] = []
    compiled: list[object] = []

    def apply(model: HTDemucs, mix: Tensor, **options: object) -> Tensor:
        given.append(options)
        return mix[:, None].repeat(1, 4, 1, 1)

    monkeypatch.setattr(precision, "compile_networks", compiled.append)
    monkeypatch.setattr(_songs, "apply_levelled", apply)
    song(tmp_path / "song.wav")
    flags = ("--batch", "3", "--compile", "-j", jobs)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", offline[1], *flags) == 0
    assert given[0].get("workers") == workers and given[0]["batch"] == 3 and "compile" not in given[0]
    assert len(compiled) == 1


def job_of(offline: tuple[HTDemucs, Path], folder: Path) -> _songs.Job:
    return _songs.Job(offline[0], False, torch.device("cpu"), _songs.Output(folder), offline={"segment": 0.05})


def test_the_bar_moves_with_the_segments_of_an_offline_model(
    tmp_path: Path, offline: tuple[HTDemucs, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    song(tmp_path / "song.wav")
    shown: list[float] = []
    monkeypatch.setattr(_songs, "_follow", lambda bar, cancel: shown.append)
    _songs.separate_song(job_of(offline, tmp_path), tmp_path / "song.wav", threading.Event())
    assert len(shown) > 10 and shown == sorted(set(shown)) and shown[-1] == 0.5


def test_an_offline_model_gives_a_song_up_after_the_segment_in_work(
    tmp_path: Path, offline: tuple[HTDemucs, Path]
) -> None:
    song(tmp_path / "song.wav")
    cancel, calls = threading.Event(), 0

    def interrupt(*_: object) -> None:
        nonlocal calls
        calls += 1
        cancel.set()

    hook = offline[0].register_forward_hook(interrupt)
    with pytest.raises(_songs.Cancelled):
        _songs.separate_song(job_of(offline, tmp_path), tmp_path / "song.wav", cancel)
    hook.remove()
    assert calls == 1 and [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["song.wav"]


def test_an_offline_model_does_not_stream(
    tmp_path: Path, offline: tuple[HTDemucs, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-n", offline[1], "--mode", "stream") == 1
    assert "streams only with some future in view; add --lookahead 500ms" in capsys.readouterr().err


@pytest.mark.parametrize("segment", ["nan", "inf", "0"])
def test_a_segment_is_a_number_of_seconds(
    tmp_path: Path, offline: tuple[HTDemucs, Path], capsys: pytest.CaptureFixture[str], segment: str
) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", offline[1], "--segment", segment) == 1
    assert "segment must be a number of seconds above 0" in capsys.readouterr().err


def test_a_segment_beyond_the_model_s_is_told_the_longest(
    tmp_path: Path, offline: tuple[HTDemucs, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    flags = ("-o", tmp_path, "-n", offline[1])
    assert separate(tmp_path / "song.wav", *flags, "--segment", "100") == 1
    told = capsys.readouterr().err
    assert "100 s are more than the model's segment of 0.3 s; choose a --segment of at most 0.3 s" in told
    assert separate(tmp_path / "song.wav", *flags, "--segment", "0.3") == 0
    assert separate(tmp_path / "song.wav", *flags, "--no-split") == 1
    assert "0.5 s are more than the model's segment of 0.3 s; leave out --no-split" in capsys.readouterr().err
