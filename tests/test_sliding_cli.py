"""`--lookahead`: offline models as a stream, under one name in `separate` and `stream`, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamsep.cli import main
from streamsep.engine.executor import Executor
from streamsep.errors import StreamsepError
from streamsep.files import read_audio
from streamsep.models import load
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.load import load_separator
from streamsep.models.sliding import SlidingSeparator, Windowing
from streamsep.models.streaming import separate_stream
from streamsep.models.tuning import Place, StepTimes, Tuning, save_tuning
from tests.models import tiny
from tests.sliding_toys import small_offline

FLAGS = ("--lookahead", "20ms", "--window", "0.06s", "--hop", "0.01")
MOVES = Windowing(2646, 441, 882, 441)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(tmp_path: Path) -> tuple[HTDemucs, Path]:
    model, path = small_offline(), tmp_path / "tiny.safetensors"
    save_checkpoint(model, path, {})
    return model, path


@pytest.fixture
def causal(tmp_path: Path) -> Path:
    path = tmp_path / "causal.safetensors"
    save_checkpoint(tiny(), path, {})
    return path


@pytest.fixture
def song(tmp_path: Path) -> Path:
    samples = 0.1 * np.random.default_rng(0).standard_normal((9000, 2))
    soundfile.write(tmp_path / "song.wav", samples, 44100, subtype="FLOAT")
    return tmp_path / "song.wav"


def stems_in(folder: Path) -> np.ndarray:
    return np.stack([read_audio(folder / f"{name}.wav")[0] for name in ("drums", "bass", "other", "vocals")])


@pytest.mark.parametrize("mode", [[], ["--mode", "stream"]])
def test_separate_slides(offline: tuple[HTDemucs, Path], song: Path, tmp_path: Path, mode: list[str]) -> None:
    flags = [*FLAGS, *mode, "--float32", "--clip-mode", "none"]
    assert main(["separate", str(song), "-n", str(offline[1]), "-o", str(tmp_path), *flags]) == 0
    mix = torch.from_numpy(read_audio(song)[0])[None]
    wanted = separate_stream(SlidingSeparator(offline[0], MOVES), mix)[0].numpy()
    np.testing.assert_allclose(stems_in(tmp_path / "tiny" / "song"), wanted, atol=1e-6)


def test_stream_slides(offline: tuple[HTDemucs, Path], song: Path, tmp_path: Path) -> None:
    assert main(["stream", str(song), "-n", str(offline[1]), "-o", str(tmp_path), *FLAGS, "--float32"]) == 0
    mix = torch.from_numpy(read_audio(song)[0])[None]
    wanted = separate_stream(SlidingSeparator(offline[0], MOVES), mix)[0].numpy()
    np.testing.assert_allclose(stems_in(tmp_path / "tiny" / "song"), wanted, atol=1e-5)


def test_separate_tells_its_window(
    offline: tuple[HTDemucs, Path], song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["separate", str(song), "-n", str(offline[1]), "-o", str(tmp_path), *FLAGS]) == 0
    assert "tiny.safetensors: a window of 0.06 s every 0.01 s, look-ahead 0.02 s\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["500ms", "0.5s", "0.5", " 500 MS "])
def test_times(text: str) -> None:
    from streamsep.cli.options import duration, waiting_time

    assert duration(text) == waiting_time(text) == 0.5
    assert waiting_time("0") == waiting_time("0ms") == 0.0


@pytest.mark.parametrize("text", ["0.0s", "-1s", "ms", "1m", "nan", "half", "infs"])
def test_what_is_no_time(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["separate", "song.wav", "--lookahead", text])
    assert "--lookahead" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "flags", "message"),
    [
        (
            "causal",
            ["--lookahead", "1s"],
            "--lookahead is for offline models and those that learnt to wait, and {path} is neither; leave it out",
        ),
        ("causal", ["--hop", "1s"], "--hop is for offline models"),
        ("offline", ["--mode", "stream"], "add --lookahead 500ms"),
        ("offline", ["--window", "0.05"], "add --lookahead 500ms"),
        ("offline", ["--mode", "offline", "--lookahead", "1s"], "--lookahead is for streams; leave it out, or --mode"),
        ("offline", [*FLAGS, "--shifts", "1"], "--shifts is for offline models, and {path} is streaming with --look"),
        ("offline", ["--lookahead", "50ms", "--window", "0.05", "--hop", "0.01"], "choose a longer window"),
        ("offline", ["--lookahead", "20ms", "--window", "0.2", "--hop", "0.01"], "longer than the model's segment"),
        ("offline", ["--lookahead", "1s"], "does not fit into the segment of {path}, 0.1 s; choose a shorter"),
    ],
)
def test_contradictions(
    kind: str, flags: list[str], message: str, offline: tuple[HTDemucs, Path], causal: Path, song: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = causal if kind == "causal" else offline[1]
    assert main(["separate", str(song), "-n", str(path), "-o", str(song.parent / "out"), *flags]) == 1
    error = capsys.readouterr().err
    assert message.format(path=path) in error and error.count("\n") == 1


def test_a_causal_model_is_itself(causal: Path) -> None:
    assert load_separator(causal).hop == 16


def test_without_a_tuning_there_are_usual_windows(tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    save_checkpoint(small_offline(segment=5.0), path, {})

    def moves(**given: float) -> Windowing:
        separator = load_separator(path, **given)  # type: ignore[arg-type]
        assert isinstance(separator, SlidingSeparator)
        return separator.moves

    assert moves(lookahead=0.25) == Windowing(132300, 11025, 11025, 11025)
    assert moves(lookahead=1.0) == Windowing(176400, 22050, 44100, 22050)
    assert moves(lookahead=2.0).window == 5 * 44100
    assert moves(lookahead=0.25, window=1.0) == Windowing(44100, 11025, 11025, 11025)
    assert moves(lookahead=0.25, hop=0.1) == Windowing(132300, 4410, 11025, 4410)


def test_a_tuning_is_used(offline: tuple[HTDemucs, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = offline[1]
    monkeypatch.setattr(load, "this_place", lambda device, threads: Place("here", device, threads))
    rows = (StepTimes(3000, 9, 0.005, 0.005, 0.005), StepTimes(4000, 9, 0.01, 0.01, 0.01))
    save_tuning(Tuning(str(path), Place("here"), 44100, 0.2, rows))
    save_tuning(Tuning(str(path), Place("here", threads=2), 44100, 0.2, rows[:1]))
    separators = [load_separator(path, lookahead=0.02, threads=threads) for threads in (1, 2)]
    assert [separator.moves for separator in separators] == [  # type: ignore[attr-defined]
        Windowing(4000, 768, 882, 768),
        Windowing(3000, 512, 882, 512),
    ]
    chosen = load_separator(path, lookahead=0.02, window=0.06, hop=0.01)
    assert isinstance(chosen, SlidingSeparator) and chosen.moves == MOVES
    with pytest.raises(StreamsepError, match="shorter than look-ahead and hop"):
        load_separator(
            path, lookahead=0.02, window=0.06
        )  # one of the two overrules a tuning: the usual hop is too long
    save_tuning(Tuning(str(path), Place("here"), 44100, 0.2, (StepTimes(9000, 9, 0.01, 0.01, 0.01),)))
    with pytest.raises(StreamsepError, match="shorter than look-ahead and hop"):
        load_separator(path, lookahead=0.02)  # a window longer than the segment is none: back to the usual ones


@pytest.mark.parametrize(("hop", "steps"), [("0.01", 200), ("0.04", 125), ("1.0", 10)])
def test_long_steps_are_measured_less_often(
    hop: str, steps: int, offline: tuple[HTDemucs, Path], song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of a stream in real time comes from some seconds of steps, whatever the hop."""
    asked: list[int] = []

    def measure(executor: Executor, steps: int) -> list[float]:
        asked.append(steps)
        raise StreamsepError("that will do")

    monkeypatch.setattr("streamsep.engine.thread_host.measure_step", measure)
    path = song.parent / "long.safetensors"
    save_checkpoint(small_offline(segment=2.0), path, {})
    flags = ["--lookahead", "20ms", "--window", "2.0", "--hop", hop, "--realtime"]
    assert main(["stream", str(song), "-n", str(path), "-o", str(song.parent), *flags]) == 1
    assert asked == [steps]
