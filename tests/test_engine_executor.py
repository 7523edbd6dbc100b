"""Executors against the model itself, step by step."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from streamsep.engine.executor import EXECUTORS, inference_thread, make_executor
from streamsep.errors import StreamsepError
from tests.engine_toys import DelaySplit, Fir
from tests.models import tiny

SEPARATORS = [DelaySplit(hop=8, latency=24), Fir(hop=8), tiny(), tiny(lookahead=2)]


def compare_with_model(executor: Any, separator: Any, lengths: list[int]) -> float:
    """Greatest difference from `separator.step` over chunks of `lengths` hops."""
    generator = torch.Generator().manual_seed(0)
    state = executor.init_state()
    expected_state = separator.init_state(executor.batch, executor.max_chunk, device=executor.device)
    worst = 0.0
    with torch.inference_mode():
        for hops in lengths:
            mix = torch.randn(executor.batch, 2, hops * separator.hop, generator=generator).to(executor.device)
            expected, expected_state = separator.step(mix, expected_state)
            actual, state = executor(mix, state)
            worst = max(worst, float((actual - expected).abs().max()))
    return worst


@pytest.mark.parametrize("separator", SEPARATORS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("batch", [1, 3])
def test_eager_is_the_model_itself(separator: Any, batch: int) -> None:
    executor = make_executor("eager", separator, batch=batch, max_chunk=3)
    assert executor.tolerance == 0
    assert compare_with_model(executor, separator, [1, 3, 2, 1, 1]) == 0


def test_names_and_devices_are_checked() -> None:
    with pytest.raises(StreamsepError, match=f"choose one of auto, {', '.join(sorted(EXECUTORS))}"):
        make_executor("quick", DelaySplit())
    with pytest.raises(StreamsepError, match="eager computes in float32; choose cuda-graph for bfloat16"):
        make_executor("eager", DelaySplit(), precision="bfloat16")
    with pytest.raises(StreamsepError, match="--executor eager"):
        make_executor("cuda-graph", DelaySplit(), device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(StreamsepError, match="--device cpu"):
            make_executor("eager", DelaySplit(), device="cuda")


def test_thread_settings_are_entered_and_left() -> None:
    seen: dict[str, Any] = {}

    def look() -> None:
        denormal = torch.tensor([1e-40])
        with inference_thread():
            seen["inside"] = (torch.is_inference_mode_enabled(), torch.get_num_threads(), float(denormal * 1.0))
        seen["after"] = (torch.is_inference_mode_enabled(), float(denormal * 1.0) > 0)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen["inside"] == (True, 1, 0.0)
    assert seen["after"] == (False, True)


@pytest.mark.parametrize("first_out", [0, 1])
def test_steps_of_two_threads_leave_the_operators_of_later_ones_alone(three_threads: None, first_out: int) -> None:
    threads = [ThreadPoolExecutor(1) for _ in range(3)]
    settings = [inference_thread() for _ in range(2)]
    for thread, setting in zip(threads, settings, strict=False):
        thread.submit(setting.__enter__).result()
        assert thread.submit(torch.get_num_threads).result() == 1
    for number in (first_out, 1 - first_out):
        threads[number].submit(settings[number].__exit__, None, None, None).result()
    assert threads[2].submit(torch.get_num_threads).result() == 3
    for thread in threads:
        thread.shutdown()


def test_a_caller_that_flushes_denormals_goes_on_doing_so() -> None:
    def flushes() -> bool:
        return float(torch.tensor([1e-40]) * 1.0) == 0.0

    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        with inference_thread():
            assert flushes()
        assert flushes()
    finally:
        torch.set_flush_denormal(False)
    with inference_thread():
        pass
    assert not flushes()
