"""What `streamsep live` opens and makes of its flags: the device, the model, the stream."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from streamsep.cli import live_device
from streamsep.cli.live_config import LiveConfig
from streamsep.cli.live_device import PipeForm
from streamsep.cli.live_model import ModelChoice
from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.errors import StreamsepError
from tests.engine_toys import NAMES, DelaySplit, noise
from tests.sliding_toys import Shares


@pytest.mark.parametrize(
    ("config", "form", "message"),
    [
        ({"input_device": "-"}, PipeForm(), "give both -i - and -o -, or neither"),
        ({"output_device": "-"}, PipeForm(), "give both -i - and -o -, or neither"),
        ({"samplerate": 44100}, PipeForm(), "leave --samplerate out, or choose a raw --pipe-format"),
        ({}, PipeForm("wav", 2), "leave --pipe-channels out, or choose a raw --pipe-format"),
    ],
)
def test_pipes_that_do_not_fit(config: dict[str, Any], form: PipeForm, message: str) -> None:
    both: dict[str, Any] = {"input_device": "-", "output_device": "-"} if "device" not in "".join(config) else {}
    with pytest.raises(StreamsepError, match=re.escape(message)):
        live_device.open_device(LiveConfig(**both, **config), form)


def test_a_sound_card_gets_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from streamsep.engine.backends import pa_devices, portaudio
    from streamsep.engine.backends.pa_plan import JACK, DeviceConfig

    hosts = {"studio": JACK, "Scarlett": "ALSA"}
    found = lambda wanted, kind, hostapi: SimpleNamespace(hostapi=hosts[wanted])  # noqa: E731
    monkeypatch.setattr(pa_devices, "find_device", found)
    monkeypatch.setattr(portaudio, "PortAudioDevice", lambda config: config)
    config = LiveConfig(
        input_device=2,
        output_device="Scarlett",
        host_api="ALSA",
        samplerate=96000,
        latency=0.01,
        input_channels=(5, 3),
        routes=("mix=1,2", "vocals=7"),
        exclusive=True,
    )
    expected = DeviceConfig(2, "Scarlett", "ALSA", 96000, 256, 0.01, inputs=5, outputs=7, exclusive=True)
    opened: list[Any] = [live_device.open_device(config)]
    opened.append(live_device.open_device(LiveConfig(output_device="studio"), None, True))
    opened.append(live_device.open_device(LiveConfig(output_device="studio", blocksize=64)))
    # JACK's own period needs no cutting anew; but what was asked for is asked for.
    jack = DeviceConfig(output="studio", block=None, lock_step=True)
    assert opened == [expected, jack, DeviceConfig(output="studio", block=64)]


def test_an_offline_model_needs_a_look_ahead() -> None:
    with pytest.raises(StreamsepError, match=r"htdemucs is an offline model, .* add --lookahead 500ms"):
        ModelChoice("htdemucs").wrap(torch.nn.Linear(2, 2))


def test_an_offline_model_streams_behind_a_window() -> None:
    model = Shares()
    choice = ModelChoice("mine", "cpu", "eager", 256, lookahead=0.1, window=0.5, hop=0.05)
    separator = choice.wrap(model).separator
    assert (separator.latency, separator.hop) == (4410, 2205)
    with pytest.raises(StreamsepError, match="--lookahead is for offline models"):
        ModelChoice("toy", "cpu", lookahead=0.1).wrap(DelaySplit(hop=64))


@pytest.mark.parametrize(
    ("block", "rate", "chunk"), [(64, 44100, 1), (65, 44100, 2), (256, 44100, 4), (256, 88200, 2), (256, 22050, 8)]
)
def test_one_step_takes_what_one_block_brings(block: int, rate: int, chunk: int) -> None:
    choice = ModelChoice("x", "cpu", "eager", block, rate)
    assert choice.wrap(DelaySplit(hop=64)).max_chunk == chunk


def test_the_stream_is_what_the_flags_say() -> None:
    from argparse import Namespace

    from streamsep.cli.live import make_stream
    from streamsep.engine.mixer import from_decibels
    from streamsep.engine.routing import Route
    from streamsep.engine.stream_config import StreamConfig
    from streamsep.engine.thread_host import ThreadHost

    host = ThreadHost(ModelChoice("toy", "cpu", "eager", 64).wrap(DelaySplit(hop=64)))
    config = LiveConfig(
        routes=("vocals=1,2", "mix=3"),
        gain={"drums": -20.0},
        mute=("bass",),
        solo=("other",),
        input_channels=(2,),
        input_gain=3.0,
        output_gain=-3.0,
        limiter=False,
        on_overload="mute",
        queue=3,
    )
    device = FakeDevice(noise(64), 3, clocking=Clocking(64))
    stream = make_stream(host, device, config, Namespace(callback="python", seconds=0.5))
    assert stream.config == StreamConfig(
        queue=3,
        on_overload="mute",
        routes=(Route("vocals", (1, 2)), Route("mix", (3,))),
        input_channels=(2,),
        input_gain=from_decibels(3.0),
        output_gain=from_decibels(-3.0),
        limiter=False,
        restart=True,
        record_seconds=10.0,
        callback="python",
        frames=22050,
    )
    assert [stream.desk.gain(name) for name in NAMES] == [pytest.approx(0.1), 1.0, 1.0, 1.0]
    assert [stream.desk.muted(name) for name in NAMES] == [False, True, False, False]
    assert [stream.desk.soloed(name) for name in NAMES] == [False, False, True, False]
    host.close()
