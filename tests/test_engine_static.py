"""Steps on memory that never moves, against the model itself: on a CPU without the graph, on a GPU with it."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.engine.operations import count_operations
from streamsep.engine.pool import StreamPool
from streamsep.engine.state import clone_state, leaves
from streamsep.engine.static_executor import NO_CUDA_GRAPH, StaticExecutor
from streamsep.engine.static_options import COMPILE, PRECISION, SIDE_BY_SIDE, TOLERANCES, StaticOptions, overruled
from streamsep.errors import StreamsepError
from streamsep.files import read_audio
from streamsep.models.causal_config import ExpanderConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.registry import load_model
from tests.engine_toys import DelaySplit, Fir, noise
from tests.models import tiny, tiny_config, wake
from tests.test_engine_executor import SEPARATORS, compare_with_model

EXAMPLE = Path(__file__).parent.parent / "examples" / "lithium" / "mix.ogg"


def static(separator: Any, batch: int = 1, max_chunk: int = 1, **options: Any) -> StaticExecutor:
    return StaticExecutor(separator, batch, "cpu", max_chunk, StaticOptions(**options))


@pytest.mark.parametrize("separator", SEPARATORS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("batch", [1, 3])
def test_static_buffers_change_nothing(separator: Any, batch: int) -> None:
    executor = static(separator, batch, 3)
    assert not executor.graphs
    assert compare_with_model(executor, separator, [1, 3, 2, 1, 1, 3]) <= executor.tolerance / 10


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("lookahead", [0, 2])
def test_every_precision_is_near_the_model(precision: str, lookahead: int) -> None:
    executor = static(tiny(lookahead), 2, 3, precision=precision)
    found = compare_with_model(executor, tiny(lookahead), [1, 3, 2, 1, 1, 3] * 3)
    assert (found < 1e-6) == (precision == "tf32")  # TF32 is a GPU's
    assert found <= executor.tolerance


def test_static_buffers_stay_where_they_are_and_take_a_foreign_state() -> None:
    executor = static(DelaySplit(hop=4, latency=4))
    mix = torch.ones(1, 2, 4)
    first, state = executor(mix, executor.init_state())
    second, again = executor(mix * 2, state)
    assert first.data_ptr() == second.data_ptr()
    assert state is again
    fresh, _ = executor(mix, executor.init_state())
    assert fresh.abs().max() == 0


def test_a_fork_of_static_buffers_has_its_own() -> None:
    executor = static(DelaySplit(hop=4, latency=4))
    mix = torch.ones(1, 2, 4)
    _, state = executor(mix, executor.init_state())
    other = executor.fork()
    other(mix * 5, other.init_state())
    sources, _ = executor(mix, state)
    assert sources[0, 0, 0, 0] == 0.5


@pytest.mark.parametrize("make", [lambda: Fir(8), lambda: tiny(1)], ids=["in place", "causal"])
def test_a_new_chunk_length_and_a_count_leave_the_state_alone(make: Any) -> None:
    executor = static(make(), max_chunk=3)
    mix = torch.from_numpy(noise(3 * executor.separator.hop))[None]
    _, state = executor(mix[..., : executor.separator.hop], executor.init_state())
    before = clone_state(state)
    assert executor.operations(3) > 0
    dead = executor._network.dead_when_still(state) if hasattr(executor._network, "dead_when_still") else ()
    for now, then in zip(leaves(state), leaves(before), strict=True):
        assert torch.equal(now, then) or any(now is leaf for leaf in dead)
    other = static(make(), max_chunk=3)
    expected, _ = other(mix, before)
    assert torch.equal(executor(mix, state)[0], expected)


def test_the_shipped_model_in_half_precision_on_music() -> None:
    """What the declared tolerances rest on: the greatest difference is several times below them, and inaudible."""
    model: Any = load_model("live-23-small")
    executors = {name: static(model, precision=name) for name in ("float32", "bfloat16", "float16")}
    states = {name: executor.init_state() for name, executor in executors.items()}
    mix = torch.from_numpy(read_audio(EXAMPLE)[0][:, : 200 * 512])[None]
    state, expected, found = model.init_state(1), list[Tensor](), {name: list[Tensor]() for name in executors}
    with torch.inference_mode():
        for chunk in mix.split(512, -1):
            stems, state = model.step(chunk, state)
            expected.append(stems)
            for name, executor in executors.items():
                stems, states[name] = executor(chunk, states[name])
                found[name].append(stems.clone())
    truth = torch.cat(expected, -1)
    assert truth.abs().max() > 0.1
    for name, margin, decibels in (("float32", 20, 110), ("bfloat16", 3, 40), ("float16", 3, 55)):
        error = torch.cat(found[name], -1) - truth
        assert error.abs().max() * margin < executors[name].tolerance
        assert 10 * torch.log10(truth.square().sum() / error.square().sum()) > decibels, name


def test_networks_remember_in_their_precision_and_all_else_in_float32() -> None:
    model = wake(CausalHTDemucs(replace(tiny_config(1), expander=ExpanderConfig())))
    executor = static(model, precision="bfloat16")
    mix = torch.randn(1, 2, executor.separator.hop)
    _, state = executor(mix, executor.init_state())
    for name, part in state._asdict().items():
        kinds = {leaf.dtype for leaf in leaves(part) if leaf.is_floating_point()}
        network = name in ("spectrogram", "waveform", "transformer")
        assert kinds == {torch.bfloat16 if network else torch.float32}, name
    sources, _ = executor(mix, state)
    assert sources.dtype == torch.float32


def test_the_environment_overrules(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = StaticOptions("bfloat16", compiled=True)
    assert overruled(asked) == asked
    for name, value in ((PRECISION, "float32"), (COMPILE, "0"), (SIDE_BY_SIDE, "1")):
        monkeypatch.setenv(name, value)
    assert overruled(asked) == StaticOptions("float32", False, True)
    assert static(tiny(), precision="float16").tolerance == TOLERANCES["float32"]
    monkeypatch.setenv(PRECISION, "float8")
    with pytest.raises(StreamsepError, match="unknown precision 'float8'; choose one of float32, tf32, bfloat16"):
        static(tiny())


def test_half_precision_needs_a_model_that_has_it() -> None:
    with pytest.raises(StreamsepError, match="this model does not compute in bfloat16; choose float32"):
        static(DelaySplit(), precision="bfloat16")


def test_operators_are_counted_and_views_are_not() -> None:
    x = torch.zeros(2, 3)
    assert count_operations(lambda: (x.t().reshape(3, 2)[0] + 1).mul_(2), torch.device("cpu")) == 2
    executor = static(tiny())
    state, mix = tiny().init_state(1), torch.zeros(1, 2, 16)
    with torch.inference_mode():
        eager = count_operations(lambda: tiny().step(mix, state), torch.device("cpu"))
    assert 100 < executor.operations() < eager


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # the compiler's own: of complex numbers, and of what it will do without
def test_a_compiled_step_is_the_step() -> None:
    """Rings and states are written in place by what torch.compile makes: it must not lose or reorder that."""
    executor = static(tiny(1), 2, compiled=True)
    executor(torch.zeros(2, 2, 16), executor.init_state(), torch.tensor([True, False]))
    assert compare_with_model(executor, tiny(1), [1] * 20) <= executor.tolerance / 10


def on_gpu(separator: Any) -> Any:
    return copy.deepcopy(separator).to("cuda") if isinstance(separator, torch.nn.Module) else separator


def gpu(separator: Any, batch: int = 1, max_chunk: int = 1, **options: Any) -> StaticExecutor:
    return StaticExecutor(on_gpu(separator), batch, "cuda", max_chunk, StaticOptions(**options))


def against_cpu(executor: StaticExecutor, separator: Any, lengths: list[int]) -> float:
    """Greatest difference from the model on the CPU."""
    state, expected_state = executor.init_state(), separator.init_state(executor.batch, executor.max_chunk)
    generator, worst = torch.Generator().manual_seed(0), 0.0
    with torch.inference_mode():
        for hops in lengths:
            mix = 0.3 * torch.randn(executor.batch, 2, hops * separator.hop, generator=generator)
            expected, expected_state = separator.step(mix, expected_state)
            actual, state = executor(mix, state)
            assert actual.device.type == "cpu"
            worst = max(worst, float((actual - expected).abs().max()))
    return worst


@pytest.mark.gpu
@pytest.mark.parametrize("separator", SEPARATORS, ids=lambda s: type(s).__name__)
def test_a_cuda_graph_is_the_model(separator: Any) -> None:
    executor = gpu(separator, 2, 2)
    assert executor.graphs
    assert against_cpu(executor, separator, [1, 2, 1, 1, 2, 2] * 3) <= 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("precision", list(TOLERANCES))
@pytest.mark.parametrize("side_by_side", [False, True])
def test_every_precision_and_forked_graphs_on_a_gpu(precision: str, side_by_side: bool) -> None:
    """Many steps: kernels that should have waited for each other differ from one run to the next."""
    for lookahead in (0, 2):
        executor = gpu(tiny(lookahead), 2, 2, precision=precision, side_by_side=side_by_side)
        assert against_cpu(executor, tiny(lookahead), [1, 2] * 50) <= executor.tolerance


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_graph_is_the_model() -> None:
    assert against_cpu(gpu(tiny(1), compiled=True), tiny(1), [1] * 30) <= 1e-5


@pytest.mark.gpu
def test_the_kill_switch_runs_without_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_CUDA_GRAPH, "1")
    executor = gpu(tiny())
    assert not executor.graphs
    assert against_cpu(executor, tiny(), [1, 1, 1]) <= 1e-5
    assert executor.operations() > 100


@pytest.mark.gpu
def test_a_pool_on_a_gpu_keeps_its_rows_apart() -> None:
    """A row of noise beside one that joins, leaves and rests, bit for bit as beside an empty one."""
    mix = noise(40 * 16)
    answers = []
    for neighbour in (False, True):
        pool, heard = StreamPool(gpu(tiny(1), 2)), []
        pool.warm_up()
        with pool.open() as seat:
            for i in range(40):
                other = pool.open() if neighbour and i % 5 else None
                seat.feed(mix[:, 16 * i : 16 * i + 16])
                if other:
                    other.feed(10 * mix[:, : 16 * (i % 2)])
                pool.tick()
                heard.append(seat.read())
                if other:
                    other.close()
        answers.append(torch.from_numpy(heard[-1]))
    assert torch.equal(*answers)
    assert answers[0].abs().max() > 0
