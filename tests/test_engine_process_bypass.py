"""Bypass, panic and reset where a device calls the callback: at once, without a click, as loud as the mix."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.engine.callback import OnOverload
from streamsep.engine.executor import make_executor
from streamsep.engine.routing import Route
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from tests.engine_toys import DelaySplit, delayed, tone
from tests.hand_cranked import HandCranked


@pytest.mark.parametrize("on_overload", ["dry", "mute"])
@pytest.mark.parametrize("compiled", [False, True])
def test_bypass_and_panic_act_at_once_without_a_click(compiled: bool, on_overload: OnOverload) -> None:
    samples = tone(12000)
    device = HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device, StreamConfig(fade=32, recover_seconds=0.0, on_overload=on_overload))
    for stem in DelaySplit().sources:
        stream.set_mute(stem, True)
    stream.start()
    played = []
    for number in range(samples.shape[1] // 16):
        if number in (200, 300):
            stream.set_bypass(number == 200)
        if number in (220, 260):
            stream.set_panic(number == 220)
        played.append(device.deliver(samples[:, 16 * number : 16 * (number + 1)])[0])
    stream.close()
    host.close()
    heard = np.concatenate(played, axis=1)
    dry = delayed(samples, stream.delay, samples.shape[1])
    np.testing.assert_array_equal(heard[:, : 200 * 16], 0)
    np.testing.assert_array_equal(heard[:, 202 * 16 : 220 * 16], dry[:, 202 * 16 : 220 * 16])
    np.testing.assert_array_equal(heard[:, 222 * 16 : 260 * 16], 0)
    np.testing.assert_array_equal(heard[:, 262 * 16 : 300 * 16], dry[:, 262 * 16 : 300 * 16])
    np.testing.assert_array_equal(heard[:, 303 * 16 :], 0)
    assert np.abs(np.diff(heard)).max() <= np.abs(np.diff(samples)).max() + 0.5 / 32
    assert stream.report().fades == 0


@pytest.mark.parametrize("compiled", [False, True])
def test_after_a_bypass_the_mix_is_heard_until_the_stems_are_back(compiled: bool) -> None:
    samples = tone(6000)
    device = HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device, StreamConfig(fade=32, recover_seconds=800 / 44100, on_overload="mute"))
    stream.start()
    played = []
    for number in range(samples.shape[1] // 16):
        if number in (100, 120):
            stream.set_bypass(number == 100)
        played.append(device.deliver(samples[:, 16 * number : 16 * (number + 1)])[0])
    stream.close()
    host.close()
    heard, dry = np.concatenate(played, axis=1), delayed(samples, stream.delay, samples.shape[1])
    # The stems sum to the mix; only where the bypass begins do both fades lie over each other.
    np.testing.assert_allclose(heard[:, 102 * 16 :], dry[:, 102 * 16 : heard.shape[1]], atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_bypass_is_as_loud_as_the_mix_where_one_stem_is_routed(compiled: bool) -> None:
    samples, device = tone(4000), HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device, StreamConfig(output="stems", routes=(Route("vocals", (1, 2)),), fade=32))
    stream.start()
    stream.set_bypass(True)
    played = [device.deliver(samples[:, at : at + 16])[0] for at in range(0, 4000, 16)]
    stream.close()
    host.close()
    heard, dry = np.concatenate(played, axis=1), delayed(samples, stream.delay, 4000)
    np.testing.assert_allclose(heard[:, 1000:], dry[:, 1000:], atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("latency", [24, 4000])
def test_a_reset_is_covered_by_the_mix_where_the_model_is_late(compiled: bool, latency: int) -> None:
    samples, device = tone(16000), HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, latency), max_chunk=8))
    stream = Stream(host, device, StreamConfig(fade=32, recover_seconds=0.0))
    stream.start()
    played = []
    for at in range(0, 16000, 16):
        if at == 8000:
            stream.reset()
        played.append(device.deliver(samples[:, at : at + 16])[0])
    stream.close()
    host.close()
    heard, dry = np.concatenate(played, axis=1), delayed(samples, stream.delay, 16000)
    loud = np.sqrt(np.mean(np.square(heard[:, 8100:12000]))) / np.sqrt(np.mean(np.square(dry[:, 8100:12000])))
    assert loud == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(heard[:, 13000:], dry[:, 13000:], atol=1e-6)
