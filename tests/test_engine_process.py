"""The callback as a device calls it: in Python and as C functions, which must give the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsep.engine.executor import make_executor
from streamsep.engine.link import Counter
from streamsep.engine.routing import Route
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from tests.engine_toys import SHARES, Audio, DelaySplit, delayed, noise, tone
from tests.hand_cranked import HandCranked


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
