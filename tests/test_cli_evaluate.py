"""`streamsep evaluate` and `streamsep train` from the command line: mistakes, and where figures go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import streamsep.training.start  # noqa: F401 (before `data` replaces the `load_model` that it takes)
from streamsep.cli import main
from streamsep.evaluation import apart
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from streamsep.models.registry import build_preset
from tests.toys import ToySeparator

TRAIN = "model: live-6-small\nloop: {hours: null, steps: 1}\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """One song; every model is the toy."""
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: ToySeparator())
    folder = tmp_path / "data" / "one"
    folder.mkdir(parents=True)
    for stem in ("drums", "bass"):
        soundfile.write(folder / f"{stem}.wav", 0.1 * rng.standard_normal((4410, 2)), 44100)
    return tmp_path / "data"


def evaluate(data: Path, *arguments: str | Path) -> int:
    return main(["evaluate", "--data", str(data), "--cache", str(data.parent / "cache"), *map(str, arguments)])


def test_no_name_is_no_song(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(data, "--songs", "") == 1
    assert "no song ''" in capsys.readouterr().err


def test_less_than_a_sample_is_one(data: Path) -> None:
    assert evaluate(data, "--seconds", "0.00001", "--json", data.parent / "figures.json") == 0
    assert sorted(json.loads((data.parent / "figures.json").read_text())["mean"]) == ["bass", "drums"]


def test_figures_are_written_whole(data: Path) -> None:
    figures = data.parent / "figures.json"
    assert evaluate(data, "--json", figures) == 0
    assert sorted(json.loads(figures.read_text())["mean"]) == ["bass", "drums"]
    assert sorted(path.name for path in data.parent.iterdir()) == ["cache", "data", "figures.json"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--json", "data/one/drums.wav/x.json"], "choose another --json"),
        (["--json", "data"], "is a folder"),
        (["--cache", "data/one/drums.wav"], "choose another cache"),
        (["--device", "nonsense"], "is not usable on this machine"),
        (["--subset", "test"], "there is no folder {data}/test; correct --data, or leave out --subset"),
        (["--songs", "nobody, else"], "no song 'nobody'"),
        (["-j", "2"], "--jobs is for a comparison"),
        (["--listen", "1"], "--listen is for a comparison"),
        (["--report-mb", "3"], "--report-mb is for a comparison"),
        (["--no-report"], "--no-report is for a comparison"),
        (["-s", "irm"], "--system is for a comparison"),
        (["-o", "out"], "leave out --cache"),
    ],
)
def test_mistakes_are_one_sentence(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    monkeypatch.chdir(data.parent)
    assert evaluate(data, *flags) == 1
    error = capsys.readouterr().err
    assert message.format(data=data) in error.splitlines()[-1]
    assert list(data.parent.rglob("*.part")) == []


@pytest.mark.parametrize(("flag", "value"), [("--json", "figures.json"), ("--threads", "1")])
def test_a_comparison_ignores_no_flag(data: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str) -> None:
    given = ["--data", str(data), "-o", str(data.parent / "out"), flag, value]
    assert main(["evaluate", *given]) == 1
    assert f"leave out {flag}" in capsys.readouterr().err and not (data.parent / "out").exists()


def test_a_model_beside_systems_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", str(data), "-o", str(data.parent / "out"), "-s", "irm", "-n", "live-23-small"]
    assert main(["evaluate", *given]) == 1
    assert "--model has no effect beside --system" in capsys.readouterr().err and not (data.parent / "out").exists()


def test_a_song_may_have_a_comma_in_its_name(data: Path) -> None:
    figures = data.parent / "figures.json"
    (data / "one").rename(data / "Artist, Title")
    assert evaluate(data, "--songs", "Artist, Title", "--json", figures) == 0
    assert list(json.loads(figures.read_text())["songs"]) == ["Artist, Title"]


def test_only_stems_that_files_keep_apart_are_scored(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    """Of a voice beside the rest the rest is no stem; a comparison, whose song it is a part of, does without both."""
    for name in ("vocals", "no_vocals"):
        (data / "two").mkdir(exist_ok=True)
        soundfile.write(data / "two" / f"{name}.wav", 0.1 * rng.standard_normal((4410, 2)), 44100)
    figures = data.parent / "figures.json"
    assert evaluate(data, "--json", figures) == 0
    assert {name: list(scores) for name, scores in json.loads(figures.read_text())["songs"].items()} == {
        "one": ["drums", "bass"],
        "two": ["vocals"],
    }
    monkeypatch.setattr(apart, "run_apart", lambda work, *arguments, name="": work(*arguments))
    given = ["--data", str(data), "--songs", "two", "-s", "mixture", "--no-report", "-o", str(data.parent / "out")]
    capsys.readouterr()
    assert main(["evaluate", *given]) == 1
    assert "no_vocals.wav holds several stems in one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        *(["--seconds", text] for text in ("nan", "inf", "0", "-1")),
        *(["--chunk", text] for text in ("0", "-5")),
        ["--threads", "-1"],
    ],
)
def test_numbers_out_of_range_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        evaluate(tmp_path, "=".join(flags))
    assert stop.value.code == 2 and flags[0] in capsys.readouterr().err


@pytest.fixture
def train_config(tmp_path: Path) -> Path:
    (tmp_path / "train.yaml").write_text(TRAIN)
    return tmp_path / "train.yaml"


def test_training_names_an_absent_folder_first(
    tmp_path: Path, train_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_config.write_text(TRAIN + "data: {practice: 14}\n")
    assert main(["train", str(train_config), "--data", str(tmp_path / "no"), "--out", str(tmp_path / "run")]) == 1
    assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", str(train_config), "--data", "x", "--out", "y", "--threads=-1"])


def test_training_cannot_start_from_another_class(
    data: Path, train_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = HTDemucsConfig(channels=4, bottom_channels=0, layers=1, heads=2, dconv_compress=4, nfft=512, depth=2)
    save_checkpoint(HTDemucs(config), data.parent / "other.safetensors", {})
    where = ["--data", str(data), "--out", str(data.parent / "run"), "--init", str(data.parent / "other.safetensors")]
    assert main(["train", str(train_config), *where]) == 1
    assert "is another model than the configuration's" in capsys.readouterr().err


def test_a_resumed_run_remembers_where_it_began(
    data: Path, train_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = "batch: {size: 1, seconds: 0.2}\nloss: {warm: 0.02, ffts: [256]}\n"
    out, begun = data.parent / "run", data.parent / "begun.safetensors"
    began = f"{data.parent.name}/begun.safetensors"
    save_checkpoint(build_preset("live-6-small"), begun, {})
    where = ["train", str(train_config), "--data", str(data), "--cache", str(data.parent / "cache"), "--out", str(out)]
    for steps, flags in ((1, ["--init", str(begun)]), (2, ["--resume"])):
        train_config.write_text(TRAIN.replace("steps: 1", f"steps: {steps}") + short)
        assert main([*where, *flags]) == 0
        training = read_record(out / "last.json")["training"]
        assert (training["steps"], training["init"], training["data"]) == (steps, began, "data")
    state = (out / "state.pt").read_bytes()
    for other in ("other.safetensors", "other/begun.safetensors"):
        assert main([*where, "--resume", "--init", other]) == 1
        assert f"began from {began}; leave --init out, or start anew" in capsys.readouterr().err
    assert (out / "state.pt").read_bytes() == state


def test_frozen_parts_keep_what_they_start_with(
    data: Path, train_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = "batch: {size: 1, seconds: 0.2}\nloss: {warm: 0.02, ffts: [256]}\noptimiser: {warm_up: 1, ema: 0.0}\n"
    where = ["--data", str(data), "--cache", str(data.parent / "cache")]
    before, begun = build_preset("live-6-small"), data.parent / "begun.safetensors"
    save_checkpoint(before, begun, {})
    for name, code in (("waveform", 0), ("drums", 1)):
        train_config.write_text(TRAIN + short + f"frozen: [{name}]\n")
        run = data.parent / name
        assert main(["train", str(train_config), *where, "--init", str(begun), "--out", str(run)]) == code
    assert "frozen names 'drums', which the model does not have" in capsys.readouterr().err
    after = load_checkpoint(data.parent / "waveform" / "last.safetensors").state_dict()
    changed = {name.split(".")[0] for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
    assert "waveform" not in changed and "transformer" in changed
