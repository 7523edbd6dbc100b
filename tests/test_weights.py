"""The weights that ship: late by what they declare, as good as the published tables say, and honest about it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.evaluation.metrics import StemTotals
from streamsep.files import read_audio
from streamsep.models.checkpoint import read_record, save_checkpoint
from streamsep.models.defaults import STREAM_DEFAULT
from streamsep.models.lookahead import declare, longest_lookahead, waiting
from streamsep.models.registry import build_preset, load_model, weights_folder
from streamsep.models.separator import Separator
from tools.ship_weights import example_sdr, of_preset
from tools.ship_weights import separated as stems_of

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.stem for path in weights_folder().glob("*.safetensors"))
EXAMPLE = ROOT / "examples" / "lithium"


@pytest.fixture(scope="module")
def song() -> dict[str, Tensor]:
    """The example clip and its true stems, `[2, T]` each."""
    return {name: torch.from_numpy(read_audio(EXAMPLE / f"{name}.ogg")[0]) for name in ("mix", *stems())}


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each set of weights that ships."""
    return str(request.param)


@pytest.fixture(scope="module")
def separated(name: str, song: dict[str, Tensor]) -> Tensor:
    """The clip through the shipped model, as a stream if it is one, `[S, 2, T]`, lag removed."""
    return stems_of(load_model(name), song["mix"])


def stems() -> tuple[str, ...]:
    return ("drums", "bass", "other", "vocals")


def test_waiting_is_worth_something(name: str) -> None:
    """With half a second of the future in view the example's stems are better in the mean; by little, and not worse."""
    model = load_model(name)
    if not (longest := longest_lookahead(model)):
        pytest.skip(f"{name} did not learn to wait")
    waited = waiting(cast(Separator, model), name, longest)
    scores = example_sdr(cast(nn.Module, waited)).values()
    recorded = read_record(weights_folder() / f"{name}.safetensors")["example_sdr"].values()
    assert sum(scores) > sum(recorded) + 4 * 0.03


def test_weights_ship_only_with_the_look_aheads_of_their_preset(tmp_path: Path) -> None:
    preset = build_preset(STREAM_DEFAULT)
    save_checkpoint(preset, tmp_path / "a.safetensors", {})
    assert longest_lookahead(of_preset(tmp_path / "a.safetensors", STREAM_DEFAULT)) > 0
    declare(preset, [])
    save_checkpoint(preset, tmp_path / "a.safetensors", {})
    with pytest.raises(StreamsepError, match="did not learn the look-aheads of live-23-small"):
        of_preset(tmp_path / "a.safetensors", STREAM_DEFAULT)


def published() -> dict[str, dict[str, float]]:
    results = json.loads((ROOT / "benchmarks" / "results" / "live.json").read_text(encoding="utf-8"))
    return {score["stem"]: score for score in results["scores"]}


@pytest.mark.parametrize("index", range(4), ids=stems())
def test_as_good_as_recorded(name: str, song: dict[str, Tensor], separated: Tensor, index: int) -> None:
    total, stem = StemTotals(), stems()[index]
    total.update(song[stem], separated[index], song["mix"])
    recorded = read_record(weights_folder() / f"{name}.safetensors")["example_sdr"]
    assert total.sdr == pytest.approx(recorded[stem], abs=0.05)
    assert total.baseline == pytest.approx(published()[stem]["baseline"], abs=0.05)


def test_what_is_published_is_of_these_weights() -> None:
    recorded = read_record(weights_folder() / f"{STREAM_DEFAULT}.safetensors")["example_sdr"]
    assert {stem: score["sdr"] for stem, score in published().items()} == pytest.approx(recorded, abs=0.05)


@pytest.mark.parametrize("index", range(4), ids=stems())
def test_lag_is_the_declared_one(song: dict[str, Tensor], separated: Tensor, index: int) -> None:
    """The cross-correlation of a separated stem with its truth peaks at zero once the declared lag is out.

    Give or take a sample: the peak of a bass line is flat, a thousandth of a percent over five samples.
    """
    truth, estimate = (x.double().sum(0).numpy() for x in (song[stems()[index]], separated[index]))
    size = 2 ** int(np.ceil(np.log2(2 * len(truth))))
    correlation = np.fft.irfft(np.fft.rfft(estimate, size) * np.conj(np.fft.rfft(truth, size)))
    peak = int(np.argmax(correlation))
    assert min(peak, size - peak) <= 1


def test_stems_sum_to_the_song(song: dict[str, Tensor], separated: Tensor) -> None:
    torch.testing.assert_close(separated.sum(0), song["mix"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_record_is_honest(name: str) -> None:
    record = read_record(weights_folder() / f"{name}.safetensors")
    assert record["licence"]
    for training in record["training"].get("members", [record["training"]]):  # of a bag that was put together, each
        assert not set(training["songs"]) & {"lithium", "mdn_funk", *training["validation_songs"]}
        assert {"lithium", "mdn_funk"} <= set(training["validation_songs"])
        assert training["steps"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_they_are_of_the_preset_that_they_are_called_by(name: str) -> None:
    weights, preset = load_model(name), build_preset(name)
    assert weights.config == preset.config


@pytest.mark.parametrize("name", NAMES)
def test_every_set_has_a_card(name: str) -> None:
    card = (weights_folder() / f"{name}.md").read_text(encoding="utf-8")
    assert f"<!-- quality of {name} -->\n|" in card and "## What it learned from" in card


def test_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in weights_folder().iterdir()) < 25e6


def test_published_tables_are_what_the_results_say() -> None:
    command = [sys.executable, "-m", "benchmarks.write_tables", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
