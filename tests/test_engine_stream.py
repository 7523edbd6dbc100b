"""The whole path: device, rings, worker, model, mixer, and back."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from streamsep.engine.backends.clocked import Faults
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import make_executor
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import SWITCH_INTERVAL, ThreadHost, measure_step
from streamsep.errors import StreamsepError
from tests.engine_toys import DelaySplit, DiesAt, Fir, delayed, make_stream, noise, run_steps, run_stream, tone

STEMS = StreamConfig(output="stems", fade=4)
QUICK = StreamConfig(fade=16, recover_seconds=0.001, catch_up_seconds=0.05)


@pytest.mark.parametrize("blocks", [8, 4, 16, 12, 7, 64, (3, 20, 8, 1)])
@pytest.mark.parametrize("separator", [DelaySplit(8, 24), Fir(8)], ids=lambda s: type(s).__name__)
def test_lock_step_gives_the_model_s_own_output_bit_for_bit(separator: Any, blocks: int | tuple[int, ...]) -> None:
    samples = noise(500)
    stream, device = make_stream(separator, samples, STEMS, blocks=blocks)
    run_stream(stream)
    expected = run_steps(separator, samples)[..., separator.latency :][..., :500].reshape(8, 500)
    np.testing.assert_array_equal(device.played[:, stream.budget.lag :][:, :500], expected)
    report = stream.report()
    assert (report.late_hops, report.fades, report.dry_blocks, report.xruns, report.error) == (0, 0, 0, 0, None)


@pytest.mark.parametrize("queue", [1, 3])
def test_chunks_of_several_hops_give_the_same(queue: int) -> None:
    samples, separator = noise(700), Fir(8)
    config = StreamConfig(output="stems", queue=queue)
    stream, device = make_stream(separator, samples, config, blocks=40, max_chunk=5)
    run_stream(stream)
    expected = run_steps(separator, samples)[..., separator.latency :][..., :700].reshape(8, 700)
    np.testing.assert_allclose(device.played[:, stream.budget.lag :][:, :700], expected, atol=1e-6)


@pytest.mark.parametrize("blocks", [8, 12, 64, (3, 20, 8)])
def test_the_declared_lag_is_the_measured_one(blocks: int | tuple[int, ...]) -> None:
    impulse = np.zeros((2, 400), np.float32)
    impulse[:, 100] = 1.0
    stream, device = make_stream(DelaySplit(8, 24), impulse, blocks=blocks)
    run_stream(stream)
    assert np.flatnonzero(device.played[0]).tolist() == [100 + stream.budget.lag]


def test_dry_and_separated_sound_are_aligned_through_overloads() -> None:
    # The stems of this separator sum to the mix, so a fade to the dry mix and back must not be heard at all.
    samples = noise(6000)
    stalled = frozenset([*range(20, 25), *range(100, 101), *range(200, 230)])
    stream, device = make_stream(DelaySplit(8, 24), samples, QUICK, blocks=16, faults=Faults(stalled=stalled))
    run_stream(stream)
    report = stream.report()
    assert report.fades == 3
    assert report.late_hops > 0
    np.testing.assert_allclose(device.played, delayed(samples, stream.budget.lag, device.played.shape[1]), atol=1e-6)


def test_the_delay_after_an_overload_is_the_delay_before_it() -> None:
    samples, separator = noise(6000), Fir(8)
    stream, device = make_stream(separator, samples, QUICK, blocks=16, faults=Faults(stalled=frozenset(range(60, 64))))
    run_stream(stream)
    assert stream.report().fades == 1
    expected = run_steps(separator, samples).sum(axis=0)[:, separator.latency :][:, :6000]
    played = device.played[:, stream.budget.lag :][:, :6000]
    wet = np.abs(played - expected).max(axis=0) < 1e-6
    assert wet[:800].all()
    assert not wet[900:1000].all()
    assert wet[1300:].all()


def test_a_long_stall_skips_what_is_too_late_and_recovers() -> None:
    samples = noise(12000)
    stream, device = make_stream(
        DelaySplit(8, 24), samples, QUICK, blocks=16, faults=Faults(stalled=frozenset(range(100, 300)))
    )
    run_stream(stream)
    report = stream.report()
    assert report.skipped_hops > 100
    assert report.fades == 1
    np.testing.assert_allclose(device.played, delayed(samples, stream.budget.lag, device.played.shape[1]), atol=1e-6)


@pytest.mark.parametrize("stall", [4, 400])
def test_mute_never_lets_the_mix_through(stall: int) -> None:
    samples = tone(12000)
    config = StreamConfig(fade=32, on_overload="mute", recover_seconds=0.001, catch_up_seconds=0.05)
    faults = Faults(stalled=frozenset(range(100, 100 + stall)))
    stream, device = make_stream(DelaySplit(8, 24), samples, config, blocks=16, faults=faults)
    for stem in ("drums", "bass", "other", "vocals"):
        stream.set_mute(stem, True)
    run_stream(stream)
    assert stream.report().fades == 1
    assert np.abs(device.played).max() == 0


def test_fades_and_gains_do_not_click() -> None:
    samples = tone(8000)
    faults = Faults(stalled=frozenset(range(100, 110)))
    config = StreamConfig(fade=64, on_overload="mute", recover_seconds=0.001)
    stream, device = make_stream(DelaySplit(8, 24), samples, config, blocks=16, faults=faults)
    run_stream(stream)
    assert stream.report().fades == 1
    played = device.played[:, :8000]  # the end of the tone is a click of its own
    assert np.abs(np.diff(played)).max() <= np.abs(np.diff(samples)).max() + 0.5 / 64


@pytest.mark.parametrize("on_overload", ["dry", "mute"])
def test_a_dead_worker_is_heard_as_dry_or_nothing_and_reported(on_overload: Any) -> None:
    samples = noise(2000)
    config = StreamConfig(on_overload=on_overload, fade=8)
    stream, device = make_stream(DiesAt(8, 24), samples, config, blocks=16)
    run_stream(stream)
    assert stream.report().error == "RuntimeError: boom"
    tail = delayed(samples, stream.budget.lag, device.played.shape[1])[:, 1000:]
    np.testing.assert_array_equal(device.played[:, 1000:], tail if on_overload == "dry" else 0 * tail)


def test_faults_of_the_device_leave_finite_sound_and_are_counted() -> None:
    samples = noise(2000)
    faults = Faults(dropped=frozenset({20}), corrupted=frozenset({40, 41}))
    stream, device = make_stream(DelaySplit(8, 24), samples, QUICK, blocks=16, faults=faults)
    run_stream(stream)
    assert np.isfinite(device.played).all()
    assert stream.report().xruns == 1
    lag = stream.budget.lag
    np.testing.assert_allclose(device.played[:, 1200:1900], samples[:, 1200 - lag : 1900 - lag], atol=1e-6)


def test_gains_set_before_the_start_hold_from_the_first_sample() -> None:
    samples = noise(300)
    stream, device = make_stream(DelaySplit(8, 24), samples, STEMS)
    stream.set_gain("drums", 0.0)
    stream.set_solo("vocals", True)
    run_stream(stream)
    played = device.played[:, stream.budget.lag :][:, :300]
    np.testing.assert_array_equal(played[:6], 0)
    np.testing.assert_array_equal(played[6:], samples * np.float32(0.125))


def test_a_reset_while_it_plays_does_not_stop_the_stream() -> None:
    samples = noise(3000)
    stream, device = make_stream(DelaySplit(8, 24), samples, QUICK, blocks=16)

    class Seeker(DelaySplit):
        calls = 0

        def step(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
            self.calls += 1
            if self.calls == 100:
                stream.reset()
            return super().step(mix, state)

    stream.host._executor.separator = Seeker(8, 24)  # type: ignore[attr-defined]
    run_stream(stream)
    expected = delayed(samples, stream.budget.lag, device.played.shape[1])
    differs = np.flatnonzero(np.abs(device.played - expected).max(axis=0) > 1e-6)
    # The latency, and the fade (at most a hop), after step 100.
    assert 0 < len(differs) <= 24 + 2 * 8
    assert abs(int(differs[0]) - 101 * 8) < 100


def test_in_real_time_the_output_is_the_same_where_there_were_no_misses() -> None:
    samples, separator = noise(11025), DelaySplit(64, 64)
    config = StreamConfig(output="stems", queue=8, recover_seconds=0.001)
    interval = sys.getswitchinterval()
    stream, device = make_stream(separator, samples, config, blocks=64, realtime=True)
    run_stream(stream)
    assert sys.getswitchinterval() == interval
    report = stream.report()
    assert report.error is None
    assert stream.position == device.played.shape[1]
    played = device.played[:, stream.budget.lag :][:, :11025]
    expected = run_steps(separator, samples)[..., 64:][..., :11025].reshape(8, 11025)
    same = (played == expected).all(axis=0)
    if report.dry_blocks == 0:
        assert same.all()
    # Misses of a busy machine, in any case, are the exception, and are covered by the mix.
    np.testing.assert_allclose(played.reshape(4, 2, -1).sum(axis=0), samples, atol=1e-6)


def test_threads_take_turns_quickly_until_the_last_stream_has_ended() -> None:
    before = sys.getswitchinterval()
    streams = [make_stream(DelaySplit(8, 24), noise(100), blocks=16, realtime=True)[0] for _ in range(2)]
    for stream in streams:
        stream.start()
    seen = []
    for stream in streams:
        seen.append(sys.getswitchinterval())
        stream.close()
        stream.host.close()
    assert seen == [pytest.approx(SWITCH_INTERVAL)] * 2
    assert sys.getswitchinterval() == before


def test_a_stream_runs_once_and_a_second_start_does_not_touch_it() -> None:
    samples = noise(2000)
    stream, device = make_stream(DelaySplit(8, 24), samples, STEMS, blocks=16, realtime=True)
    stream.start()
    with pytest.raises(StreamsepError, match="runs once"):
        stream.start()
    while not stream.wait(0.05):
        pass
    assert stream.host.alive
    expected = delayed(samples, stream.delay, device.played.shape[1])
    np.testing.assert_allclose(device.played.reshape(4, 2, -1).sum(axis=0), expected, atol=1e-6)
    stream.stop()
    with pytest.raises(StreamsepError, match="make another Stream"):
        stream.start()
    stream.host.close()


def test_a_model_that_cannot_step_is_told_before_the_device_starts() -> None:
    class Unfit(DelaySplit):
        def step(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
            raise ValueError("no such shape")

    stream, device = make_stream(Unfit(8, 24), noise(100), realtime=True)
    with pytest.raises(StreamsepError, match="no such shape"):
        stream.start()
    stream.close()
    assert device.played.shape[1] == 0


def test_devices_that_do_not_fit_are_refused_with_the_cure() -> None:
    host = ThreadHost(make_executor("eager", DelaySplit()))
    with pytest.raises(StreamsepError, match="need 8 output channels and the device has 2"):
        Stream(host, FakeDevice(noise(8), 2), StreamConfig(output="stems"))
    with pytest.raises(StreamsepError, match="at most 10 s"):
        Stream(host, FakeDevice(noise(8)), StreamConfig(queue=100_000))
    with pytest.raises(StreamsepError, match="batch=1"):
        ThreadHost(make_executor("eager", DelaySplit(), batch=2))
    host.close()


@pytest.mark.parametrize("changes", [{"queue": 0}, {"fade": 0}, {"on_overload": "loud"}, {"output": "quad"}])
def test_config_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(StreamsepError):
        Stream(ThreadHost(make_executor("eager", DelaySplit())), FakeDevice(noise(8)), StreamConfig(**changes))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1])
def test_numbers_that_mean_nothing_are_refused(value: float) -> None:
    names = ["input_gain", "output_gain", "ramp_seconds", "recover_seconds", "catch_up_seconds", "record_seconds"]
    for name in [*names, "frames"] if value == -1 else names:
        with pytest.raises(StreamsepError, match=f"{name} is {value}; choose"):
            StreamConfig(**{name: value})  # type: ignore[arg-type]


def test_step_times_are_measured_on_warm_steps() -> None:
    times = measure_step(make_executor("eager", DelaySplit(), max_chunk=2), steps=7)
    assert len(times) == 7
    assert min(times) > 0
