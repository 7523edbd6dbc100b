"""The report as a file: what is in it, that it is safe, and how large it may be. A browser looks at it elsewhere."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from streamsep.evaluation.report.attention import TO_FREQUENCY, TO_TIME, attention_maps, write_attention
from streamsep.evaluation.report.excerpts import write_picture, write_sounds
from streamsep.evaluation.systems import System
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from tests.models import tiny
from tests.reports import HOSTILE, STEMS, make_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("report"), "--listen", "1")


def part(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_figures_are_those_of_the_json(report: Path) -> None:
    data = part(report.read_text(encoding="utf-8"), "data")
    told = json.loads((report.parent / "compare.json").read_text(encoding="utf-8"))
    assert list(data["systems"]) == list(told["systems"]) == data["order"] and len(data["order"]) == 5
    for name, system in told["systems"].items():
        score = data["systems"][name]["scores"]["drums"]["usdr"]
        assert score == (1e9 if "<b>" in name else pytest.approx(system["scores"]["drums"]["usdr"], rel=1e-4))
    texts = [warning["text"] for warning in data["songs"][0]["results"]["late"]["warnings"]]
    assert "bass is 3.0 ms late (132 samples)" in texts


def test_only_the_songs_that_are_heard_have_sound_and_curves(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    data, assets = part(page, "data"), part(page, "assets")
    curves = [song["results"]["irm"]["stems"]["drums"]["curves"] for song in data["songs"]]
    assert len(curves[0]["sdr"]) == 2 and curves[1] == {}
    assert {name.split("/")[0] for name in assets} == {"0"} and data["left_out"] == 0
    assert sum(name.endswith(".ogg") for name in assets) == 5 * 4 + 4 + 1
    assert sum("attention" in name for name in assets) == 4 * 3


def test_sounds_and_pictures_are_what_they_say(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    data, assets = part(page, "data"), part(page, "assets")
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(assets["0/truth/bass.ogg"])))
    assert rate == 44100 and len(sound) == round(1.2 * 44100)
    start = round(44100 * data["songs"][0]["excerpt"][0])
    true, _ = soundfile.read(report.parents[1] / "data" / "one" / "bass.wav")
    true = true[start : start + len(sound)]
    assert np.square(sound - true).sum() < 0.05 * np.square(true).sum()
    picture = Image.open(io.BytesIO(base64.b64decode(assets["0/3/drums.difference.webp"])))
    assert picture.format == "WEBP" and picture.size[1] == 160
    assert data["songs"][0]["reference"]["truth"]["bass"]["lufs"] > -60


def test_names_are_text_and_nothing_is_fetched(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert HOSTILE in part(page, "data")["systems"]
    assert page.count("</script>") == 3 and "<b>a" not in page
    assert "default-src 'none'" in page
    without = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert re.findall(r"https?://[^\"' ]+", without) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import)\s*\(", without)
    assert re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?!data:)', without) == []


def test_a_small_page_leaves_sound_out(tmp_path: Path) -> None:
    page = make_report(tmp_path, "--report-mb", "0.4")
    text = page.read_text(encoding="utf-8")
    assets = part(text, "assets")
    assert 0.2e6 < page.stat().st_size < 0.5e6
    assert {name.split("/")[0] for name in assets} == {"0"} and part(text, "data")["left_out"] > 10


def test_loud_and_silent_excerpts(tmp_path: Path) -> None:
    stems = np.zeros((30_000, 2, 2), np.float32)
    stems[:, 0] = 3 * np.sin(np.arange(30_000) / 20)[:, None]
    facts = write_sounds(stems, ("loud", "silent"), 44100, tmp_path)
    assert facts["loud"]["gain"] == pytest.approx(3.06, rel=1e-3) and facts["silent"]["gain"] == 1
    assert np.abs(soundfile.read(tmp_path / "loud.ogg")[0]).max() < 1.05
    assert facts["silent"]["lufs"] == -np.inf


def test_the_first_row_of_a_picture_is_at_the_bottom(tmp_path: Path) -> None:
    values = np.zeros((20, 30))
    values[:10] = 1
    write_picture(tmp_path / "p.webp", values, 0, 1, "gray")
    pixels = np.asarray(Image.open(tmp_path / "p.webp").convert("L"))
    assert pixels.shape == (20, 30) and pixels[-4:].min() > 240 and pixels[:4].max() < 15


def test_attention_of_the_causal_model_sees_no_future() -> None:
    model = tiny()
    maps = attention_maps(model, torch.randn(2, 16 * 40), [(0, 0), (-1, 1), (7, 0)])
    assert [(m.layer, m.head, m.direction) for m in maps] == [
        (0, 0, TO_FREQUENCY), (0, 0, TO_TIME), (1, 1, TO_FREQUENCY), (1, 1, TO_TIME),
    ]  # fmt: skip
    for each in maps:
        assert each.weights.shape == (40, 40)
        torch.testing.assert_close(each.weights.sum(1), torch.ones(40))
        future = torch.ones(40, 40).triu(1) + torch.ones(40, 40).tril(-5)  # the context is five frames
        assert not (each.weights * future).any()
    assert maps[0].bands is not None and maps[0].bands.shape == (model.config.tokens, 40)
    torch.testing.assert_close(maps[0].bands.sum(0), torch.ones(40))


def test_less_than_a_hop_has_no_attention() -> None:
    model = tiny()
    assert attention_maps(model, torch.randn(2, model.hop - 1), [(0, 0)]) == []
    assert attention_maps(model, torch.randn(2, model.hop), [(0, 0)]) != []


def test_attention_is_drawn_on_the_cpu_wherever_the_system_separates(tmp_path: Path) -> None:
    facts = write_attention(
        System("small", "stream", "live-23-small", device="meta"), np.zeros((8192, 2), np.float32), [(0, 0)], tmp_path
    )
    assert facts and all((tmp_path / fact["file"]).exists() for fact in facts)


def test_attention_of_the_offline_model() -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"channels": 8, "bottom_channels": 0, "layers": 3, "heads": 2, "nfft": 512, "depth": 2}
    model = HTDemucs(HTDemucsConfig(sources=STEMS, segment=0.2, **sizes)).eval()
    maps = attention_maps(model, torch.randn(2, 8820), [(0, 0), (-1, 1)])
    assert {m.direction for m in maps} == {TO_FREQUENCY, TO_TIME} and len(maps) == 4
    for each in maps:
        torch.testing.assert_close(each.weights.sum(1), torch.ones(len(each.weights)), atol=1e-4, rtol=0)
    assert maps[0].weights.shape == maps[1].weights.shape[::-1]
    assert attention_maps(torch.nn.Linear(1, 1), torch.zeros(2, 9), [(0, 0)]) == []
