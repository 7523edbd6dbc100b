"""`streamsep devices`: the table, the JSON, and what is said where there is nothing to list."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from streamsep.cli import main
from tests.audio_servers import JackServer
from tests.stub_sounddevice import Sounddevice, device, studio_fixture  # noqa: F401  (a fixture)


def test_the_table(studio: Sounddevice, capsys: pytest.CaptureFixture[str]) -> None:
    studio.default.device = (1, 0)
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "    no.  name              host API  in  out   rate      in ms     out ms",
        " <    0  Interface 8       ALSA       2    8  44100  10.0/30.0  20.0/60.0",
        ">     1  USB Mic (hw:1,0)  ALSA       1    0  48000  10.0/30.0          -",
        "      2  Speakers          ALSA       0    2  44100          -  20.0/60.0",
    ]


def test_json(studio: Sounddevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == ["Interface 8", "USB Mic (hw:1,0)", "Speakers"]
    assert listed[1] == {
        "number": 1,
        "name": "USB Mic (hw:1,0)",
        "hostapi": "ALSA",
        "inputs": 1,
        "outputs": 0,
        "sample_rate": 48000,
        "input_latency": [0.01, 0.03],
        "output_latency": [0.02, 0.06],
        "default_input": False,
        "default_output": False,
    }


def test_no_devices(studio: Sounddevice, capsys: pytest.CaptureFixture[str]) -> None:
    studio.devices = []
    assert main(["devices"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("streamsep: error: there are no audio devices; plug one in")
    assert main(["devices", "--json"]) == 0 and capsys.readouterr().out == "[]\n"


def test_columns_are_as_wide_as_their_widest(studio: Sounddevice, capsys: pytest.CaptureFixture[str]) -> None:
    studio.devices = [device("A" * 60, 128, 128, rate=192000.0), *studio.devices]
    assert main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    places = {tuple(match.end() for match in re.finditer(r"\S+$", line)) for line in lines}
    assert len(places) == 1 and lines[1].index("ALSA") == lines[2].index("ALSA") == lines[0].index("host API")


@pytest.mark.audio
def test_a_jack_server_is_listed() -> None:
    with JackServer(rate=48000, period=512, outputs=18) as server:
        command = [sys.executable, "-m", "streamsep", "devices", "--json"]
        environment = {**os.environ, **server.environment}
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    (system,) = [entry for entry in json.loads(told.stdout) if entry["name"] == "system"]
    assert (system["inputs"], system["outputs"], system["sample_rate"]) == (2, 18, 48000)
    assert system["hostapi"] == "JACK Audio Connection Kit" and told.stderr == ""
    assert system["input_latency"][0] == pytest.approx(512 / 48000)
