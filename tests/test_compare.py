"""The comparison of streaming and offline separation: costs, measures, pictures, and the tool around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.errors import StreamsepError
from streamsep.evaluation import compare, metrics, pictures
from streamsep.evaluation.compare import Cost, Task, Waves, arrange, difference, peak_memory, run, run_apart, score
from streamsep.evaluation.pictures import Column
from streamsep.files import write_audio
from streamsep.models.apply import apply_model
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from tests.models import tiny
from tools import compare_streaming_offline as tool

STEMS = ("drums", "bass", "other", "vocals")
FRAMES = 5003  # no multiple of a hop


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with causal, offline and six-stem checkpoints."""
    folder = tmp_path_factory.mktemp("models")
    save_checkpoint(tiny(), folder / "causal.safetensors", {})
    for name, sources in {"offline": STEMS, "six": (*STEMS, "guitar", "piano"), "two": ("speech", "rest")}.items():
        sizes: dict[str, Any] = {"channels": 8, "bottom_channels": 0, "layers": 1, "heads": 2, "nfft": 512, "depth": 2}
        torch.manual_seed(0)
        model = HTDemucs(HTDemucsConfig(sources=sources, segment=0.08, **sizes))
        save_checkpoint(model, folder / f"{name}.safetensors", {})
    return folder


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A mix of noise with its four stems beside it, the bass silent."""
    stems = 0.1 * np.random.default_rng(0).standard_normal((4, 2, FRAMES)).astype(np.float32)
    stems[1] = 0
    for name, samples in {**dict(zip(STEMS, stems, strict=True)), "mix": stems.sum(0)}.items():
        write_audio(tmp_path / "song" / f"{name}.wav", samples, 44100)
    return tmp_path / "song" / "mix.wav"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems run in this process: starting another takes seconds."""
    monkeypatch.setattr(compare, "run_apart", run)


def task(folder: Path, mix: Waves, **changes: Any) -> Task:
    mix.tofile(folder / "mix")
    fields = {"way": "stream", "sources": STEMS, "mix": folder / "mix", "frames": len(mix), "out": folder / "out"}
    return Task(**{**fields, **changes})


@pytest.mark.parametrize("chunk", [3, 100])
def test_streaming_is_the_full_pass(tmp_path: Path, models: Path, rng: np.random.Generator, chunk: int) -> None:
    mix = rng.standard_normal((1003, 2)).astype(np.float32)
    stream = task(tmp_path, mix, model=str(models / "causal.safetensors"), chunk=chunk)
    whole = task(tmp_path, mix, model=stream.model, way="full pass", out=tmp_path / "whole")
    costs = run(stream), run(whole)
    assert stream.stems().shape == (1003, 4, 2)
    assert max(row["max"] for row in difference(stream.stems(), whole.stems(), STEMS).values()) < 1e-5
    # The stems sum to the mix, without the lag: what came out is in its place.
    np.testing.assert_allclose(stream.stems().sum(1), mix, atol=1e-4)
    assert all(min(cost.cpu_seconds, cost.seconds) > 0 for cost in costs)
    assert all((cost.peak_memory or 0) >= (cost.start_memory or 0) > 0 for cost in costs)


def test_offline_is_apply_model_at_unit_level(tmp_path: Path, models: Path, rng: np.random.Generator) -> None:
    mix = (0.1 + 0.2 * rng.standard_normal((6001, 2))).astype(np.float32)
    offline = task(tmp_path, mix, model=str(models / "six.safetensors"), way="offline")
    run(offline)
    wave = torch.from_numpy(mix.T.copy())[None]
    mean, level = wave.mean(), wave.mean(1).std(correction=0)
    model: Any = compare.load_model(offline.model)
    expected = apply_model(model, (wave - mean) / level)[0] * level + mean
    expected[2] += expected[4] + expected[5]
    np.testing.assert_allclose(offline.stems(), expected[:4].permute(2, 0, 1).numpy(), atol=1e-5)


def test_stems_are_brought_into_order() -> None:
    stems = torch.arange(1.0, 7.0)[:, None, None].expand(6, 2, 3)
    names = ("other", "drums", "bass", "vocals", "guitar", "piano")
    assert arrange(stems, names, STEMS)[:, 0, 0].tolist() == [2, 3, 1 + 5 + 6, 4]
    assert arrange(stems, names, ("vocals",))[:, 0, 0].tolist() == [4]
    with pytest.raises(StreamsepError, match="has no choir"):
        arrange(stems, names, ("drums", "choir"))


def test_measures_do_not_depend_on_the_pieces(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(compare, "_PIECE", 700)
    truth, estimate = rng.standard_normal((2, 3000, 2, 2)).astype(np.float32)
    truth[:, 1] = 0
    mix = truth.sum(1) + 0.5
    scores = score(truth, estimate, mix, ("drums", "bass"))
    s, e, m = (torch.from_numpy(each.T.copy()) for each in (truth[:, 0], estimate[:, 0], mix))
    expected = {"sdr": metrics.sdr(s, e), "si_sdr": metrics.si_sdr(s, e), "baseline_sdr": metrics.baseline_sdr(s, m)}
    assert scores == {"drums": pytest.approx(expected)}  # the bass is silent


def test_differences_are_over_the_shorter(rng: np.random.Generator) -> None:
    one = rng.standard_normal((900, 2, 2)).astype(np.float32)
    other = one[:500].copy()
    other[100, 1, 0] += 0.25
    rows = difference(one, other, ("drums", "bass"))
    assert rows["drums"] == {"sdr": np.inf, "max": 0}
    assert rows["bass"]["max"] == pytest.approx(0.25)
    assert rows["bass"]["sdr"] == pytest.approx(10 * np.log10((other[:, 1] ** 2).sum() / 0.25**2), abs=1e-3)


@pytest.mark.slow
def test_a_process_of_its_own_has_its_own_peak(tmp_path: Path, models: Path) -> None:
    ballast = np.ones(100 << 20, np.float32)  # 400 MiB here must not count there
    wanted = task(tmp_path, np.ones((100, 2), np.float32), model=str(models / "causal.safetensors"))
    peak = run_apart(wanted).peak_memory
    assert peak is not None and 50 << 20 < peak < ballast.nbytes < (peak_memory() or 0)
    assert wanted.stems().any()


@dataclass(frozen=True)
class Deadly(Task):
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


def test_a_killed_process_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "run", id)  # does not come to run, and spares the child the import of torch
    with pytest.raises(StreamsepError, match="the full pass of x was ended by the system"):
        run_apart(Deadly("full pass", "x", STEMS, tmp_path, tmp_path, 1))


def test_without_proc_the_peak_is_that_of_getrusage(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> str:
        raise FileNotFoundError

    peak = peak_memory()
    monkeypatch.setattr(Path, "read_text", refuse)
    assert peak is not None and (peak_memory() or 0) > 0.9 * peak  # the kernel counts in batches


def compare_song(song: Path, models: Path, *arguments: str) -> int:
    flags = ["--model", str(models / "causal.safetensors"), "-o", str(song.parent / "out"), "--chunk", "64"]
    return tool.main([str(song), *flags, *arguments])


def test_the_tool_with_everything(
    song: Path, models: Path, here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[Column] = []
    draw = pictures.draw

    def watch(columns: list[Column], *rest: Any) -> None:
        drawn.extend(columns)
        draw(columns, *rest)

    monkeypatch.setattr(pictures, "draw", watch)
    assert compare_song(song, models, "--offline", str(models / "six.safetensors")) == 0
    told = json.loads((song.parent / "out" / "compare.json").read_text(encoding="utf-8"))
    assert told["true_stems"] == str(song.parent) and told["cpu_threads"] == 1
    assert list(told["systems"]) == ["stream", "full pass", "offline"]
    for system in told["systems"].values():
        assert list(system["scores_db"]) == ["drums", "other", "vocals"]
        assert system["real_time_factor"] > 0 and system["memory_mib"]["peak"] > 0
        # Three stems of equal energy: the best gain is 1/3, and leaves 2/3 of the energy.
        assert system["scores_db"]["drums"]["baseline_sdr"] == pytest.approx(10 * np.log10(3 / 2), abs=0.2)
    latencies = [system["algorithmic_latency_ms"] for system in told["systems"].values()]
    assert latencies == [pytest.approx(1000 * 32 / 44100, rel=1e-4), None, None]
    same, other = told["differences"]
    assert (same["against"], other["against"]) == ("full pass", "offline")
    assert max(row["max"] for row in same["stems"].values()) < 1e-5 < other["stems"]["drums"]["max"]
    assert [column.title.split(":")[0] for column in drawn] == ["stream", "offline", "truth"]
    assert {column.stems.shape for column in drawn} == {(FRAMES, 4, 2)}
    text = capsys.readouterr().out
    assert "best gain" in text and "on one CPU thread" in text and "0.7 ms" in text
    assert (song.parent / "out" / "compare.png").stat().st_size > 10000
    assert len(list((song.parent / "out").iterdir())) == 2


def test_the_tool_without_truth_and_offline_model(
    song: Path, models: Path, here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMSEP_CACHE", str(song.parent))
    monkeypatch.setattr("streamsep.models.registry.OFFLINE_DEFAULTS", ("htdemucs",))
    monkeypatch.setattr(tool, "PASS_SECONDS", 0.02)
    (song.parent / "vocals.wav").unlink()
    assert compare_song(song, models, "--no-picture", "--seconds", "0.05") == 0
    out, err = capsys.readouterr()
    assert "streamsep models pull htdemucs" in err and "best gain" not in out and "no true stems" in out
    told = json.loads((song.parent / "out" / "compare.json").read_text(encoding="utf-8"))
    assert told["true_stems"] is None and told["systems"]["stream"]["scores_db"] == {}
    seconds = [system["seconds_of_sound"] for system in told["systems"].values()]
    assert seconds == pytest.approx([0.05, 0.02], rel=1e-4)
    assert [path.name for path in (song.parent / "out").iterdir()] == ["compare.json"]


def test_a_part_of_a_song_is_not_scored(song: Path, models: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "PASS_SECONDS", 0.02)
    assert compare_song(song, models, "--no-picture", "--no-offline") == 0
    systems = json.loads((song.parent / "out" / "compare.json").read_text(encoding="utf-8"))["systems"]
    assert systems["stream"]["scores_db"] and not systems["full pass"]["scores_db"]


def test_silence_is_called_silence(song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(song, np.zeros((2, 900), np.float32), 44100)
    assert compare_song(song, models, "--no-picture", "--no-offline") == 0
    out = capsys.readouterr().out
    assert "drums silent" in out and "nan" not in out.split("one system")[1]


def test_stems_of_another_song_are_noticed(
    song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(song, (np.random.default_rng(1).standard_normal((1, 3000)) / 9).astype(np.float32), 22050)
    assert compare_song(song, models, "--no-picture", "--no-offline", "--stems", str(song.parent)) == 0
    assert "are they its own?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model", "live-32"], "no model or file 'live-32'"),
        (["--model", "{models}/offline.safetensors"], "is an offline model; choose another --model"),
        (["--offline", "{models}/causal.safetensors"], "is a streaming model; choose another --offline"),
        (["--offline", "{models}/two.safetensors"], "choose models that agree"),
        (["--stems", "{models}"], "there is no drums.wav"),
        (["--device", "abacus"], "device 'abacus' is not usable"),
        (["-o", "{song}"], "cannot write into"),
    ],
)
def test_mistakes_are_one_sentence(
    song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    given = [flag.format(models=models, song=song) for flag in flags]
    assert compare_song(song, models, "--no-picture", *given) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("compare_streaming_offline: error: ") and sentence in error
    assert not (song.parent / "out" / "compare.json").exists()


def test_a_failure_leaves_what_was_there(song: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: Task) -> Cost:
        raise StreamsepError("no memory is left; buy some")

    old = song.parent / "out" / "compare.json"
    old.parent.mkdir()
    old.write_text("old", encoding="utf-8")
    monkeypatch.setattr(compare, "run_apart", fail)
    assert compare_song(song, models, "--no-offline") == 1
    assert [path.read_text(encoding="utf-8") for path in old.parent.iterdir()] == ["old"]


def test_weights_that_change_meanwhile_are_noticed(
    song: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_and_train(task: Task) -> Cost:
        cost = run(task)
        model = tiny()
        torch.nn.init.normal_(model.branches[0].output_bias)
        save_checkpoint(model, song.parent / "live.safetensors", {})
        return cost

    save_checkpoint(tiny(), song.parent / "live.safetensors", {})
    monkeypatch.setattr(compare, "run_apart", run_and_train)
    flags = ["--model", str(song.parent / "live.safetensors"), "--no-offline", "--no-picture"]
    assert compare_song(song, models, *flags) == 1
    assert "changed meanwhile" in capsys.readouterr().err


def test_without_matplotlib_the_tool_names_the_extra(
    song: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert compare_song(song, models) == 1
    assert "streamsep[plot]" in capsys.readouterr().err


def test_help_teaches_without_torch() -> None:
    script = (
        "import runpy, sys; sys.argv = ['tools/compare_streaming_offline.py', '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules\n"
    )
    root = Path(tool.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "best gain" in done.stdout and "models pull htdemucs" in done.stdout
