"""The report in a real browser: it loads without complaint, plays, switches in place, votes, and fetches nothing."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports import NUMBER, make_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
REQUIRED = os.environ.get("STREAMSEP_REQUIRE_BROWSER") == "1"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (REQUIRED or (CHROMIUM and DRIVER)), reason="needs chromium and chromedriver"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1240,1000",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report, opened from disk."""
    browser.get(make_report(tmp_path_factory.mktemp("report")).as_uri())
    return browser


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.find_element("tag name", "body").send_keys(key)


def until(page: Any, condition: str) -> Any:
    """What a condition in the page's own words comes to, within half a minute."""
    for _ in range(600):
        if value := page.execute_script(f"return {condition}"):
            return value
        time.sleep(0.05)
    raise AssertionError(f"this never came true: {condition}")


def complaints(page: Any) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser")]


def test_the_page_shows_everything(page: Any) -> None:
    text = page.find_element("tag name", "main").text
    assert "late on one: bass is 3.0 ms late (132 samples)" in text
    rows = page.find_elements("css selector", "#summary tbody tr")
    assert len(rows) >= 5 and page.title == "streamsep: systems compared"
    for section in ("latency", "seconds", "songs"):
        assert page.find_elements("css selector", f"#{section} svg path, #{section} svg circle"), section
    pictures = page.execute_script("""return [...document.images].map((i) => i.decode().then(() => i.naturalWidth))
        .reduce((all, one) => all.then((list) => one.then((width) => [...list, width])), Promise.resolve([]))""")
    assert len(pictures) >= 1 + 2 * 5 + 4 * 3 and min(pictures) > 10
    assert complaints(page) == []


def test_a_system_named_by_a_number_keeps_its_place_and_its_sound(page: Any) -> None:
    assert page.execute_script("return SYSTEMS") == page.execute_script("return DATA.order")
    tracks = page.execute_script("return trackList(0, 'bass').map((t) => [t.id, t.asset])")
    assert dict(tracks)[NUMBER] == "0/4/bass.ogg"
    drawn = [button.text for button in page.find_elements("css selector", "#seconds .legend button")]
    assert drawn[-1] == NUMBER


def test_the_best_constant_gain_is_no_contestant(page: Any) -> None:
    rows = page.find_elements("css selector", "#summary tbody tr.frame")
    (row,) = [row for row in rows if row.text.startswith(NUMBER)]
    assert "whole song" not in row.text and not row.find_elements("css selector", ".best")


def test_switching_keeps_the_place(page: Any) -> None:
    press(page, " ")
    until(page, "player.playing && player.position > 0.3")
    for key in "3124":
        script = "const t = [player.context.currentTime, player.position]; return t"
        before, place = page.execute_script(script)
        press(page, key)
        after, there = page.execute_script(script)
        assert (there - place) % 1.2 == pytest.approx((after - before) % 1.2, abs=1e-6)
        track = page.execute_script(f"return player.tracks[{int(key) - 1}].id")
        heard = until(
            page,
            f"player.tracks.filter((t) => t.volume.gain.value > 0.01).map((t) => t.id).join() === {json.dumps(track)}",
        )
        assert heard
    assert complaints(page) == []


def test_levels_are_matched(page: Any) -> None:
    press(page, "o")
    loudness = "player.tracks.map((t) => t.lufs + 20 * Math.log10(player.gain(t) / t.gain))"
    matched = page.execute_script(f"return {loudness}")
    press(page, "l")
    raw = page.execute_script(f"return {loudness}")
    press(page, "l")
    assert max(matched) - min(matched) < 0.5 < max(raw) - min(raw)


def test_the_stem_changes_and_the_place_stays(page: Any) -> None:
    press(page, "\ue015")  # down
    until(page, "state.stem === 'bass' && player.tracks[0].asset.includes('bass') && player.playing")
    assert page.execute_script("return player.position") > 0.05
    press(page, "\ue013")
    until(page, "state.stem === 'drums' && player.tracks[0].asset.includes('drums')")


def test_blind_votes_are_kept(page: Any) -> None:
    press(page, "b")
    names = [each.text for each in page.find_elements("css selector", ".track")]
    assert [name.split()[-1] for name in names] == list("ABCDE")
    press(page, "2")
    order = page.execute_script("return test.order")
    assert page.execute_script("return player.chosen") == order[1]
    press(page, "\ue007")
    press(page, "x", "3", "[")
    votes = json.loads(page.execute_script("return document.getElementById('votes').textContent"))
    assert [vote["mode"] for vote in votes] == ["blind", "abx"]
    assert votes[0]["best"] == order[1] and votes[0]["among"] == order and votes[0]["letter"] == "B"
    assert votes[1]["answer"] == "A" and votes[1]["right"] in (True, False) and votes[1]["song"] == "one"
    press(page, "o")
    assert "of 1 right" in page.find_element("id", "voting").text
    assert complaints(page) == []


def test_the_other_song_is_shown(page: Any) -> None:
    page.execute_script("change({ song: 1 })")
    until(page, "player.song === 1 && player.tracks.length === 7")
    assert "two" in page.find_element("css selector", "#spectrograms .hint").text
    assert complaints(page) == []


def test_nothing_was_fetched(page: Any) -> None:
    entries = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
    foreign = [url for url in asked if not url.startswith("data:") and not url.endswith("/out/report.html")]
    assert asked and foreign == []
    assert page.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)") == []


def test_without_sound_or_truth_the_page_still_stands(browser: Any, tmp_path: Path) -> None:
    path = make_report(tmp_path, "--listen", "0", songs=("only",))
    browser.get_log("browser")
    browser.get(path.as_uri())
    assert "No sound of this song" in browser.find_element("id", "player").text
    assert complaints(browser) == []


def test_keys_while_the_sound_is_brought_in(browser: Any, tmp_path: Path) -> None:
    browser.get_log("browser")
    browser.get(make_report(tmp_path, songs=("only",)).as_uri())
    strike = """for (const key of arguments)
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }))"""
    press(browser, "x", "[", "o")
    assert browser.execute_script("return votes.length") == 0  # nothing was heard
    browser.execute_script(strike, " ", "ArrowDown")
    until(browser, "player.playing && player.tracks[0].asset.includes(state.stem) && state.stem === 'bass'")
    browser.execute_script(strike, "b", "ArrowDown", "Enter", "ArrowDown")
    until(browser, "player.playing && player.tracks[0].asset.includes('vocals')")
    assert browser.execute_script("return votes.length") == 0
    browser.execute_script(strike, "ArrowUp", " ")
    until(browser, "player.tracks.length && player.tracks[0].asset.includes('other')")
    assert browser.execute_script("return player.playing") is False  # the space was meant for what played
    browser.execute_script(strike, " ")
    until(browser, "player.playing")
    browser.execute_script(strike, " ")
    assert browser.execute_script("return player.playing") is False
    assert complaints(browser) == []
