"""The callback as a device calls it: in Python and as C functions, which must give the same."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsep.engine.backends.base import AudioBackend, CompiledProcess, LiveProcess, Pump
from streamsep.engine.callback import OnOverload
from streamsep.engine.executor import make_executor
from streamsep.engine.link import Counter
from streamsep.engine.routing import Route
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from tests.engine_toys import SHARES, Audio, DelaySplit, delayed, noise, tone

C_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p
)


class HandCranked(AudioBackend):
    """A device whose blocks the test delivers, through C functions or through Python."""

    block, max_block, lock_step, latency = None, 64, True, 0

    def __init__(self, compiled: bool, rate: int = 44100, inputs: int = 2, outputs: int = 2, two: bool = False) -> None:
        self.takes_compiled, self.sample_rate = compiled, rate
        self.inputs, self.outputs, self.separate, self.input_block = inputs, outputs, two, 64 if two else 0

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        self._process, self._pump = process, pump

    def stop(self) -> None:
        pass

    def wait(self, timeout: float) -> bool:
        return True

    def deliver(self, block: Audio, flags: int = 0, now: float = 0.0) -> tuple[Audio, int]:
        """One block `[inputs, n]`; returns what is played and what the callback says."""
        out = np.full((block.shape[1], self.outputs), np.nan, np.float32)
        if (compiled := self._process.compiled) is not None:
            return out.T, call(compiled.callback, compiled, block, out, flags, now)
        self._process(block, out.T, bool(flags & 0b1111))
        assert self._pump is not None
        self._pump()
        return out.T, int(self._process.ended)

    def hear(self, block: Audio, now: float) -> None:
        """One block of a separate input."""
        if (compiled := self._process.compiled) is not None:
            assert call(compiled.capture, compiled, block, None, 0, now) == 0
        else:
            self._process.capture(block)


def call(address: int, compiled: CompiledProcess, block: Audio, out: Audio | None, flags: int, now: float) -> int:
    """As PortAudio does: interleaved, with its time structure."""
    interleaved, when = np.ascontiguousarray(block.T), np.array([0.0, now, 0.0])
    target = None if out is None else out.ctypes.data
    function = C_CALLBACK(address)
    return int(function(interleaved.ctypes.data, target, block.shape[1], when.ctypes.data, flags, compiled.userdata))


def run(device: HandCranked, samples: Audio, config: StreamConfig, **faults: Any) -> tuple[Audio, Stream]:
    """Deliver `samples` in blocks of many sizes; returns all that is played."""
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device, config)
    stream.start()
    sizes, played, at = np.random.default_rng(5), [], 0
    while at < samples.shape[1]:
        frames = int(sizes.choice([1, 7, 16, 33, 64]))
        if device.separate:
            device.hear(samples[:, at : at + frames], at / device.sample_rate)
        block, _ = device.deliver(samples[:, at : at + frames], **faults)
        played.append(block)
        at += frames
    stream.close()
    host.close()
    return np.concatenate(played, axis=1), stream


SETUPS = [
    ({}, {}),
    ({"outputs": 8}, {"output": "stems"}),
    ({"outputs": 4}, {"routes": (Route("vocals", (3, 4)), Route("drums", (2,)))}),
    ({"inputs": 3}, {"input_channels": (3,), "input_gain": 0.5, "output_gain": 4.0, "limiter": True}),
    ({"rate": 48000}, {"queue": 2}),
    ({"rate": 96000, "outputs": 8}, {"output": "stems"}),
]


@pytest.mark.parametrize(("device", "config"), SETUPS)
def test_both_forms_play_the_same(device: dict[str, Any], config: dict[str, Any]) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (device.get("inputs", 2), 6000)).astype(np.float32)
    samples[:, 2000:2003] = np.nan
    settings = StreamConfig(fade=16, recover_seconds=0.001, **config)
    python, expected = run(HandCranked(False, **device), samples, settings)
    compiled, stream = run(HandCranked(True, **device), samples, settings)
    tolerance = 2e-6 if "rate" in device else 0
    np.testing.assert_allclose(compiled, python, rtol=0, atol=tolerance)
    assert np.abs(python).max() > 0.1
    assert stream.delay == expected.delay
    for counter in (Counter.POSITION, Counter.XRUNS, Counter.STEPS, Counter.DRY_BLOCKS):
        assert stream._link.counters[counter] == expected._link.counters[counter], counter


@pytest.mark.parametrize("compiled", [False, True])
def test_what_comes_out_is_the_input_at_the_declared_delay(compiled: bool) -> None:
    samples = noise(4000)
    config = StreamConfig(output="stems")
    played, stream = run(HandCranked(compiled, outputs=8), samples, config)
    for number, share in enumerate(SHARES):
        expected = delayed(samples, stream.delay, 4000) * np.float32(share)
        np.testing.assert_array_equal(played[2 * number : 2 * number + 2, :4000], expected)
    assert stream.report().dry_blocks == 0


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("rate", [22050, 48000, 88200])
def test_at_other_rates_the_delay_is_a_whole_number_of_device_frames(compiled: bool, rate: int) -> None:
    samples = tone(rate // 4, 440.0, rate)
    played, stream = run(HandCranked(compiled, rate), samples, StreamConfig(queue=4))
    start = stream.delay + 200
    np.testing.assert_allclose(played[:, start:], samples[:, 200 : -stream.delay], atol=2e-4)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_block_beyond_the_greatest_is_cut(compiled: bool) -> None:
    samples, device = noise(1000), HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device, StreamConfig(queue=16))
    stream.start()
    played = np.concatenate([device.deliver(samples[:, at : at + 500])[0] for at in (0, 500)], axis=1)
    stream.close()
    host.close()
    np.testing.assert_array_equal(played, 0)
    assert stream.position == 1000
    assert stream.delay > 1000 > stream.budget.blocking


@pytest.mark.parametrize("compiled", [False, True])
def test_a_period_that_grows_while_it_plays_is_told_once(compiled: bool) -> None:
    device = HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device)
    stream.start()
    told = []
    for frames in (16, 64, 500, 500, 700):
        device.deliver(noise(frames))
        told.append(stream.events())
    stream.close()
    host.close()
    sentence = "the device now delivers blocks of 500 frames, and the queue was made for 64; start again"
    assert told == [[], [], [sentence], [], []]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_separate_input_whose_period_grows_is_told_once(compiled: bool) -> None:
    device = HandCranked(compiled, two=True)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device)
    stream.start()
    told = []
    for frames in (16, 64, 500, 700):
        device.hear(noise(frames), 0.0)
        told.append(stream.events())
    stream.close()
    host.close()
    sentence = "the input device now delivers blocks of 500 frames, and the delay was made for 64: its sound is torn"
    assert told == [[], [], [f"{sentence}; start again"], []]


@pytest.mark.parametrize("compiled", [False, True])
def test_two_devices_are_held_together(compiled: bool) -> None:
    samples = tone(30000, 300.0)
    device = HandCranked(compiled, two=True)
    played, stream = run(device, samples, StreamConfig())
    loud = np.abs(played[0, 10000:]).max()
    assert 0.45 < loud < 0.55
    assert np.abs(np.diff(played[0])).max() < 1.5 * np.abs(np.diff(samples[0])).max()
    assert stream.report().xruns == 0


@pytest.mark.parametrize("compiled", [False, True])
def test_flags_of_lost_sound_are_counted(compiled: bool) -> None:
    device = HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24)))
    stream = Stream(host, device)
    stream.start()
    for flags in (0, 2, 4, 16, 1):  # 16: priming, no loss
        device.deliver(noise(16), flags)
    assert stream.report().xruns == 3
    stream.close()
    host.close()


@pytest.mark.parametrize("compiled", [False, True])
def test_it_says_when_it_has_had_enough(compiled: bool) -> None:
    device = HandCranked(compiled)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24)))
    stream = Stream(host, device, StreamConfig(frames=40))
    stream.start()
    before = stream._process.ended
    assert [device.deliver(noise(16))[1] for _ in range(4)] == [0, 0, 1, 1]
    assert (before, stream._process.ended) == (False, True)
    stream.close()
    host.close()


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


def test_levels_are_peaks_since_the_last_look() -> None:
    device = HandCranked(True)
    host = ThreadHost(make_executor("eager", DelaySplit(8, 0)))
    stream = Stream(host, device, StreamConfig(output_gain=0.5))
    stream.start()
    block = np.zeros((2, 64), np.float32)
    block[1, 5] = -0.8
    for _ in range(4):
        device.deliver(block)
    levels = stream.levels()
    expected = {"drums": 0.4, "bass": 0.2, "other": 0.1, "vocals": 0.1, "input": 0.8, "output": 0.4}
    assert levels == pytest.approx(expected)
    assert set(stream.levels().values()) == {0.0}
    stream.close()
    host.close()


def test_every_source_of_the_compiled_code_names_it_on_disk() -> None:
    from streamsep.engine import compiled_process
    from streamsep.engine.compiling import SOURCES

    folder = Path(compiled_process.__file__).parent
    named = {path.name for pattern in SOURCES for path in folder.glob(pattern)}
    used, left = set(), ["compiled_process.py"]
    while left:
        used.add(name := left.pop())
        imported = re.findall(r"^from streamsep\.engine\.(\w+) import", (folder / name).read_text(), re.MULTILINE)
        # What these three hold is Python that runs before the code is compiled, or sizes that go into the table.
        left += [f"{module}.py" for module in imported if f"{module}.py" not in used | {"timing.py", "callback.py"}]
    assert used - named <= {"ring.py", "edge_plan.py", "routing.py", "mixer.py", "doorbell.py"}, used - named
