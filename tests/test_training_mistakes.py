"""What a user may get wrong in training: one sentence before any time is spent, and nothing lost."""

from __future__ import annotations

import csv
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from streamsep.cli import main
from streamsep.config import from_dict, to_dict
from streamsep.errors import StreamsepError
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import read_record, save_checkpoint
from streamsep.training.clips import cached_clip
from streamsep.training.config import TrainConfig
from streamsep.training.data import Library
from streamsep.training.loop import train
from streamsep.training.parallel import World
from streamsep.training.report import Report
from streamsep.training.start import start_from
from tests.models import tiny, tiny_config
from tests.training_toys import CONFIG, Toy, library_fixture, run  # noqa: F401  (a fixture)
from tools import join_bag, ship_weights


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("optimiser", "lr", -1.0, "lr must be from 0 to 10"),
        ("optimiser", "ema", 1.0, "ema must be from 0 to"),
        ("optimiser", "clip", float("inf"), "clip must be from"),
        ("optimiser", "betas", [0.9, 1.0], "betas must be from 0 to"),
        ("optimiser", "rescale", -0.1, "rescale must be from"),
        ("loop", "steps", 0, "the schedule must be from"),
        ("loop", "excerpts", 0, "excerpts must be from 1"),
        ("batch", "size", 0, "size must be from 1"),
        ("batch", "shift", -1.0, "shift must be from 0"),
        ("batch", "shift", float("nan"), "shift must be from 0"),
        ("batch", "seed", -1, "seed must be from 0"),
        ("effects", "tone_gain", float("nan"), "tone_gain must be from 0"),
        ("effects", "gain", [float("nan"), 0.0], "gain must be two numbers"),
        ("batch", "speed", [1.2, 0.8], "speed must be two numbers, the smaller first"),
        ("batch", "speed", [0.0, 1.0], "speed must be from 0.05"),
        ("batch", "speed", [0.9, 1e9], "speed must be from 0.05"),
        ("batch", "gain", [0.0, 1e5], "gain must be from -300"),
        ("batch", "alone", 1.5, "alone must be from 0 to 1"),
        ("loop", "part_megabytes", float("inf"), "part_megabytes must be from 0.01"),
        ("loop", "log_seconds", float("nan"), "log_seconds must be from 0"),
        ("batch", "remix", 1.5, "remix must be from 0 to 1"),
        (None, "lookaheads", [-1], "lookaheads must be from 0"),
        ("loss", "warm", -0.25, "warm must be from 0"),
        ("loss", "energy", -1.0, "energy must be from 0"),
        ("loss", "l1", float("nan"), "l1 must be from 0"),
        ("loss", "power", 0.0, "power must be from 0"),
        ("loss", "rest_seconds", 0.0, "rest_seconds must be from 0"),
        ("loss", "teacher_seconds", 0.0, "teacher_seconds must be from 0"),
        ("loss", "floor_db", float("inf"), "floor_db must be from"),
        ("loss", "ffts", [2047], "ffts must be even numbers above 0"),
        ("loss", "ffts", [0], "ffts must be even numbers above 0"),
        ("loss", "ffts", [], "ffts must be even numbers above 0"),
    ],
)
def test_numbers_out_of_range(part: str | None, key: str, value: Any, message: str) -> None:
    config = to_dict(CONFIG)
    config |= {key: value} if part is None else {part: {**(config[part] or {}), key: value}}
    with pytest.raises(StreamsepError, match=message):
        from_dict(TrainConfig, config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(CONFIG, batch=replace(CONFIG.batch, seconds=0.011)), r"batch: seconds of 0\.011 s leaves nothing"),
        (replace(CONFIG, loop=replace(CONFIG.loop, excerpt_seconds=0.01)), r"loop: excerpt_seconds of 0\.01 s leaves"),
        (replace(CONFIG, loss=replace(CONFIG.loss, teacher=1.0)), "a teacher needs both"),
        (replace(CONFIG, loss=replace(CONFIG.loss, ffts=(256, 16384))), "fewer than the 16384 of the longest of `loss"),
    ],
)
def test_a_run_that_could_not_begin_leaves_nothing(
    config: TrainConfig, message: str, tmp_path: Path, library: Library
) -> None:
    with pytest.raises(StreamsepError, match=message):
        train(Toy(), library, config, tmp_path, report=Report(tmp_path, quiet=True))
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_the_loss_does_not_ask_is_an_error(tmp_path: Path, library: Library) -> None:
    with pytest.raises(StreamsepError, match="a teacher needs both"):
        train(Toy(), library, CONFIG, tmp_path, report=Report(tmp_path, quiet=True), teacher=Toy())


def test_stems_that_no_song_has_are_not_trained_to_silence(tmp_path: Path, library: Library) -> None:
    model = Toy()
    model.sources = (*Toy.sources[:3], "piano")
    with pytest.raises(StreamsepError, match="songs tell nothing of piano"):
        train(model, library, CONFIG, tmp_path, report=Report(tmp_path, quiet=True))


def test_a_log_of_other_loss_terms_keeps_every_row_under_its_names(tmp_path: Path, library: Library) -> None:
    run(library, tmp_path, replace(CONFIG, loop=replace(CONFIG.loop, steps=2)))
    other = replace(CONFIG, loss=replace(CONFIG.loss, l1=0.0, rests=0.1), loop=replace(CONFIG.loop, steps=3))
    run(library, tmp_path, other, resume=True)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3] and all(None not in row for row in rows)
    assert [bool(row["l1"]) for row in rows] == [True, True, False]
    assert [bool(row["rests"]) for row in rows] == [False, False, True]
    assert all(float(row["steps_per_second"]) > 0 and float(row["norm"]) > 0 for row in rows)
    assert not list(tmp_path.glob("*.part"))


def test_a_recording_with_numbers_that_are_none(tmp_path: Path) -> None:
    samples = np.zeros((4410, 2), np.float32)
    samples[7, 1] = np.nan
    soundfile.write(tmp_path / "drums.wav", samples, 44100, subtype="FLOAT")
    with pytest.raises(StreamsepError, match=r"drums\.wav holds samples that are no numbers; replace it"):
        cached_clip([tmp_path / "drums.wav"], tmp_path / "cache" / "drums")


def test_a_run_that_learns_nothing_ends(tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Toy):
        def forward(self, mix: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(mix) * (1.0 if self.calls in (2, 3) else float("nan"))

    monkeypatch.setattr("streamsep.training.loop._PATIENCE", 3)
    model = Broken()
    with pytest.raises(StreamsepError, match="3 steps in a row had no finite gradient"):
        train(model, library, CONFIG, tmp_path, report=Report(tmp_path, quiet=True))
    assert model.calls == 6  # the first does not count: two good ones came after it


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"compression": 0.4}, "compression"), ({"window": 128}, "window"), ({"complex_mask": False}, "complex_mask")],
)
def test_what_hears_otherwise_is_no_narrower_model(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "a.safetensors", {})
    other = CausalHTDemucs(replace(tiny_config(), **changes))
    with pytest.raises(StreamsepError, match=rf"no narrower one \(they differ in {reason}\)"):
        start_from(other, tmp_path / "a.safetensors")


def test_other_strides_are_no_narrower_model(tmp_path: Path) -> None:
    """As a hop of 256 and one of 512 are: their kernels would be stretched."""
    config = tiny_config()
    save_checkpoint(tiny(), tmp_path / "a.safetensors", {})
    spectrogram = replace(config.spectrogram, strides=(2, 8))
    with pytest.raises(StreamsepError, match="differ in the strides of the spectrogram branch"):
        start_from(CausalHTDemucs(replace(config, spectrogram=spectrogram)), tmp_path / "a.safetensors")


def test_a_bag_of_an_offline_model(tmp_path: Path) -> None:
    from streamsep.models.registry import build_preset

    save_checkpoint(build_preset("offline-small"), tmp_path / "o.safetensors", {})
    with pytest.raises(StreamsepError, match="is no causal model; a bag is made of such"):
        join_bag.join("live-23-bag", [tmp_path / "o.safetensors"] * 2, tmp_path / "bag.safetensors")


def test_weights_ship_under_a_licence_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A record that states no licence leaves the folder as it was."""
    from streamsep.models.registry import build_preset

    monkeypatch.setattr(ship_weights, "weights_folder", lambda: tmp_path / "weights")
    checkpoint = tmp_path / "a.safetensors"
    save_checkpoint(build_preset("live-6-small"), checkpoint, {})
    monkeypatch.setattr("sys.argv", ["ship_weights", str(checkpoint), "live-6-small"])
    assert ship_weights.main() == 1 and "states no licence; say by --licence" in capsys.readouterr().err
    assert not (tmp_path / "weights").exists()
    monkeypatch.setattr(ship_weights, "example_sdr", lambda model: {"drums": 1.0})
    monkeypatch.setattr("sys.argv", ["ship_weights", str(checkpoint), "live-6-small", "--licence", "CC0"])
    assert ship_weights.main() == 0
    record = read_record(tmp_path / "weights" / "live-6-small.json")
    assert (record["licence"], record["example_sdr"]) == ("CC0", {"drums": 1.0})


def test_songs_that_only_the_configuration_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody who gave no --data can correct it."""
    (tmp_path / "a.yaml").write_text("model: live-23-small\ndata: {roots: [{path: nowhere}]}\n")
    for flags, cure in (
        ([], "the configuration names it, seen from where this is run; give --data"),
        (["--data", "elsewhere"], "correct --data"),
    ):
        assert main(["train", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "run"), *flags]) == 1
        assert f"where; {cure}" in capsys.readouterr().err


def test_a_mistyped_start_leaves_the_run_that_was_to_be_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "state.pt").write_bytes(b"precious")
    given = ["train", "configs/train/quick.yaml", "--out", str(out), "--cache", str(tmp_path / "cache"), "--restart"]
    for flags, message in (
        (["--init", "typo.safetensors"], "no such file"),
        (["--voice", str(tmp_path / "nowhere")], r"there is no folder .*nowhere; correct --voice"),
    ):
        assert main([*given, *flags]) == 1
        assert re.search(message, capsys.readouterr().err)
        assert (out / "state.pt").read_bytes() == b"precious"


@pytest.mark.parametrize("fails", [True, False])
def test_where_the_first_of_several_fails_the_others_say_so(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []

    def agree(self: World, values: list[float]) -> list[float]:
        if self.first:
            told.extend(values)
        return list(told)

    def work() -> None:
        if fails:
            raise StreamsepError("no songs")

    monkeypatch.setattr(World, "agree", agree)
    first, second = World(0, 2), World(1, 2)
    with pytest.raises(StreamsepError, match="no songs") if fails else nullcontext(), first.one_by_one():
        work()
    assert told == [float(not fails)]
    reached = False
    expected = pytest.raises(StreamsepError, match="the first one could not go on") if fails else nullcontext()
    with expected, second.one_by_one():
        reached = True
    assert reached != fails
