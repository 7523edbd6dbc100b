"""The report as one HTML file: figures as JSON, sound and pictures as base64, and the scripts that show them.

Nothing is fetched: the page's own policy (Content-Security-Policy) forbids it to the browser.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from streamsep.evaluation.summary import MEASURES

Facts = dict[str, Any]
SCRIPTS = ("core.js", "tables.js", "charts.js", "plots.js", "player.js", "votes.js", "pictures.js", "main.js")
_CURVES = ("sdr", "si_sdr", "lsd", "bss_sdr", "bss_sir", "bss_sar")
# Whatever is infinite: JSON has no word for it.
_INFINITE = 1e9


def page(facts: Mapping[str, Any], megabytes: float = 25.0) -> str:
    """The whole page of `summary.summarise`'s facts.

    Args:
        megabytes: sound and pictures are left out, the last songs first, once the page would be larger.
    """
    data = _data(facts)
    room = int(megabytes * 1e6) - len(json.dumps(data))
    assets, left_out = _assets(facts, room)
    data["left_out"] = left_out
    text = _part("page.html")
    fill = {
        "STYLE": _part("style.css"),
        "DATA": _embedded(data),
        "ASSETS": _embedded(assets),
        "SCRIPT": "\n".join(_part(name) for name in SCRIPTS),
    }
    for name, value in fill.items():
        text = text.replace(f"/*{name}*/", value)
    return text


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _embedded(data: Any) -> str:
    """JSON that is safe inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data(facts: Mapping[str, Any]) -> Facts:
    """What the scripts show, with short numbers; curves by second of the songs that are heard alone."""
    songs = [_song(song) for song in facts["songs"]]
    kept = {key: value for key, value in facts.items() if key != "songs"}
    order = list(facts["systems"])  # objects of JavaScript do not keep theirs
    return {**_finite(kept), "order": order, "measures": list(MEASURES), "songs": songs}


def _song(song: Facts) -> Facts:
    heard = "reference" in song
    results = {}
    for name, result in song["results"].items():
        stems = {
            stem: {
                **{key: row[key] for key in (*MEASURES, "lufs", "peak", "clipped", "delay", "drift") if key in row},
                "curves": {key: row["curves"][key] for key in _CURVES if heard and key in row.get("curves", {})},
            }
            for stem, row in result["stems"].items()
        }
        results[name] = {"stems": stems, "warnings": result["warnings"], "cost": result["cost"],
                         "excerpt": result.get("excerpt")}  # fmt: skip
    kept = {key: value for key, value in song.items() if key not in ("results", "folder", "key")}
    return _finite({**kept, "results": results})


def _finite(value: Any) -> Any:
    """Floats to five digits; null for nan, plus or minus 1e9 for what is infinite."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(f"{value:.5g}") if math.isfinite(value) else math.copysign(_INFINITE, value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _assets(facts: Mapping[str, Any], room: int) -> tuple[dict[str, str], int]:
    """Path in the report -> base64, as far as there is room; and how many files were left out."""
    assets: dict[str, str] = {}
    left_out = 0
    for name, path in _files(facts):
        size = -(-path.stat().st_size // 3) * 4 + len(name) + 8
        if size > room:
            left_out += 1
            room = 0  # what comes after is of later songs: half a song would be odd to hear
        else:
            assets[name] = base64.b64encode(path.read_bytes()).decode("ascii")
            room -= size
    return assets, left_out


def _files(facts: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Every excerpt and picture: SONG/truth/FILE, SONG/SYSTEM/FILE, by their places in the lists."""
    systems = list(facts["systems"])
    for index, song in enumerate(facts["songs"]):
        if "reference" not in song:
            continue
        folders = {"truth": song["folder"]} | {
            str(systems.index(name)): result["folder"] for name, result in song["results"].items()
        }
        for place, folder in folders.items():
            for path in sorted(Path(folder).glob("*.*")):
                yield f"{index}/{place}/{path.name}", path
