"""What is asked of PortAudio and what delay that means, without PortAudio."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from streamsep.engine.backends import pa_library
from streamsep.engine.backends.pa_plan import JACK, DeviceConfig, make_plan, plan_again, wasapi_settings
from streamsep.engine.backends.portaudio import PortAudioDevice
from streamsep.errors import StreamsepError
from tests.stub_sounddevice import Sounddevice, device, install, interface, studio_fixture  # noqa: F401  (a fixture)


def test_one_device_is_one_stream_and_two_are_two(studio: Sounddevice) -> None:
    one = make_plan(interface(outputs=8))
    assert (one.separate, one.inputs, one.outputs, one.rate, one.capture_rate) == (False, 2, 8, 44100, 44100)
    two = make_plan(interface(input="USB"))
    assert (two.separate, two.inputs, two.rate, two.capture_rate) == (True, 1, 44100, 48000)
    assert make_plan(interface(input="USB", sample_rate=32000)).capture_rate == 32000


def test_devices_of_one_jack_server_share_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, device("song", 2, 0, JACK), device("system", 2, 2, JACK))
    monkeypatch.setattr(pa_library, "jack_period", lambda: 128)
    plan = make_plan(interface(input="song", output="system"))
    assert not plan.separate and plan.max_block == 256 and plan.frames((9.0, 9.0)) == round(0.03 * 44100) + 256
    own = make_plan(interface(input="song", output="system", block=128))
    assert (own.block, own.host_block, own.frames((0.0, 0.0))) == (128, 0, round(0.03 * 44100))
    small = make_plan(interface(input="song", output="system", block=32))
    assert (small.block, small.host_block, small.max_block) == (32, 32, 128)  # they come four at once
    monkeypatch.setattr(pa_library, "jack_period", lambda: None)
    assert make_plan(interface(input="song", output="system", block=None)).block == 1024


@pytest.mark.parametrize(
    ("block", "latency", "asked"),
    [
        (256, "low", (0.01, 256 * 3 / 44100)),
        (2048, "low", (0.01, 0.02)),
        (2048, "high", (0.03, 0.06)),
        (2048, 0.1, (0.1, 0.1)),
        (None, "high", (0.03, 0.06)),
    ],
)
def test_alsa_is_not_asked_for_more_than_it_can_do_evenly(
    studio: Sounddevice, block: int | None, latency: Any, asked: tuple[float, float]
) -> None:
    assert make_plan(interface(block=block, latency=latency)).seconds == asked


def test_reported_latencies_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, device("Card", host="Windows WASAPI"))
    plan = make_plan(interface(input="Card", output="Card"))
    assert plan.frames((0.01, 0.02)) == 1323
    assert plan.frames((-1e9, 0.02)) == 882 and plan.frames((0.01, 1e9)) == 441


def test_a_device_that_comes_back_is_known_by_its_name(studio: Sounddevice) -> None:
    before = make_plan(interface(input=1))
    studio.devices = [
        device("New"),
        device("New"),
        device("Interface 8"),
        device("USB Mic (hw:3,0)", 1, 0, rate=48000.0),
    ]
    after = plan_again(interface(input=1), before)
    assert (after.input.number, after.output.number) == (3, 2)
    studio.devices.pop()
    with pytest.raises(
        StreamsepError, match=r"^USB Mic \(hw:1,0\) is not there; plug it in, or start its sound server$"
    ):
        plan_again(interface(input=1), before)


def test_of_two_alike_the_same_number_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, device("Twin"), device("Twin"))
    assert plan_again(interface(), make_plan(interface(input=1, output=1))).input.number == 1


def test_another_rate_is_told(studio: Sounddevice) -> None:
    before = make_plan(interface())
    studio.devices[0]["default_samplerate"] = 48000.0
    with pytest.raises(StreamsepError, match="Interface 8 has come back at 48000 Hz; set it to 44100 Hz"):
        plan_again(interface(), before)


def test_another_jack_period_is_cut_to_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, device("system", host=JACK))
    asked = DeviceConfig(input="system", output="system", block=None)
    monkeypatch.setattr(pa_library, "jack_period", lambda: 128)
    before = make_plan(asked)
    monkeypatch.setattr(pa_library, "jack_period", lambda: 512)
    after = plan_again(asked, before)
    assert (after.block, after.host_block) == (128, 128)


def test_exclusive_mode_is_for_wasapi(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = install(monkeypatch, device("Card", host="Windows WASAPI"), device("Other"))
    PortAudioDevice(DeviceConfig(input="Card", output="Card", exclusive=True))
    assert stub.streams[0].arguments["extra_settings"] == (None, None)
    monkeypatch.setattr(sys, "platform", "win32")
    assert wasapi_settings(stub, True) == "exclusive=True" and wasapi_settings(stub, False) is None
    with pytest.raises(
        StreamsepError, match="exclusive mode is for WASAPI and Other is a device of ALSA; leave it out"
    ):
        PortAudioDevice(DeviceConfig(input="Other", output="Other", exclusive=True))


def test_variable_blocks_of_alsa_are_powers_of_two(studio: Sounddevice) -> None:
    plan = make_plan(interface(block=None))
    assert (plan.block, plan.host_block, plan.max_block) == (None, 0, 256)  # a quarter of 20 ms, rounded up
    assert plan.frames((0.0, 0.02)) == 882 + 256
