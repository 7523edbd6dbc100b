"""Sessions: chunking, rows, reset, fork, finish, and input that is not fit to be heard."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.engine.executor import make_executor
from streamsep.engine.session import INPUT_LIMIT, Session
from streamsep.engine.static_executor import StaticExecutor
from tests.engine_toys import DelaySplit, Fir, PastState, run_steps
from tests.models import tiny

HOP = 8


def make_session(separator: Any = None, batch: int = 1, max_chunk: int = 1, fade: int = 4) -> Session:
    return Session(make_executor("eager", separator or Fir(HOP), batch=batch, max_chunk=max_chunk), fade)


def rows(batch: int, hops: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, 2, hops * HOP, generator=torch.Generator().manual_seed(seed)) * 0.3


@pytest.mark.parametrize("max_chunk", [1, 2, 5])
@pytest.mark.parametrize("chunks", [[12], [1] * 12, [5, 1, 6], [2, 3, 7]])
def test_any_chunking_gives_the_model_s_output(chunks: list[int], max_chunk: int) -> None:
    mix = rows(1, 12)
    session = make_session(max_chunk=max_chunk)
    pieces = mix.split([n * HOP for n in chunks], dim=-1)
    output = torch.cat([session.process(piece).clone() for piece in pieces], dim=-1)
    expected = torch.from_numpy(run_steps(Fir(HOP), mix[0].numpy()))[..., : 12 * HOP]
    torch.testing.assert_close(output[0], expected, rtol=0, atol=1e-6)


def test_sessions_on_one_executor_do_not_touch_each_other() -> None:
    executor = make_executor("eager", Fir(HOP))
    first, second = Session(executor), Session(executor)
    a, b = rows(1, 6, 1), rows(1, 6, 2)
    outputs = []
    for x, y in zip(a.split(HOP, -1), b.split(HOP, -1), strict=True):
        outputs.append(torch.cat([first.process(x), second.process(y)]))
    expected = torch.cat([make_session().process(a), make_session().process(b)])
    torch.testing.assert_close(torch.cat(outputs, -1), expected, rtol=0, atol=1e-6)


def test_finish_brings_out_exactly_the_latency() -> None:
    separator = DelaySplit(HOP, latency=19)
    session = make_session(separator)
    mix = rows(1, 4)
    output = torch.cat([session.process(mix), session.finish()], dim=-1)
    assert output.shape[-1] == 4 * HOP + 19
    assert torch.equal(output[..., 19:][:, 0], mix * 0.5)


def test_finish_of_a_separator_without_latency_is_empty() -> None:
    session = make_session(DelaySplit(HOP, latency=0))
    session.process(rows(1, 1))
    assert session.finish().shape == (1, 4, 2, 0)


@pytest.mark.parametrize("executor", ["eager", "static"])
def test_fork_goes_its_own_way_from_the_same_place(executor: str) -> None:
    made = StaticExecutor(Fir(HOP), device="cpu") if executor == "static" else make_executor("eager", Fir(HOP))
    session = Session(made)
    session.process(rows(1, 3))
    twin = session.fork()
    same = rows(1, 2, 5)
    ahead = twin.process(same).clone()
    twin.process(rows(1, 4, 6))
    torch.testing.assert_close(session.process(same), ahead, rtol=0, atol=0)


def test_a_fork_takes_the_seams_along_and_leaves_them_where_they_were() -> None:
    """What is to die away and what is to come in, for each of both, whichever goes on first."""
    session, ones = make_session(DelaySplit(HOP, latency=0), fade=4), torch.ones(1, 2, HOP)
    session.process(ones)
    session.reset()
    twin = session.fork()
    again = twin.fork()
    again.renew([0])
    for each in (twin, session):
        output = each.process(-ones).sum(dim=1)[0, 0]
        torch.testing.assert_close(output, torch.tensor([0.5, 0.0, -0.5, -1.0, -1.0, -1.0, -1.0, -1.0]))
    assert torch.equal(again.process(-ones).sum(dim=1)[0, 0], -torch.ones(HOP))


def test_a_row_that_rests_keeps_its_seams_for_later() -> None:
    session, ones = make_session(DelaySplit(HOP, latency=0), batch=2, fade=4), torch.ones(2, 2, HOP)
    session.process(ones)
    session.reset()
    session.process(-ones, torch.tensor([True, False]))
    output = session.process(-ones, torch.tensor([False, True])).sum(dim=1)[1, 0]
    torch.testing.assert_close(output[:4], torch.tensor([0.5, 0.0, -0.5, -1.0]))


def test_a_reset_row_forgets_and_its_neighbours_do_not() -> None:
    session, control = make_session(batch=3), make_session(batch=3)
    before, after = rows(3, 5), rows(3, 4, 9)
    session.process(before)
    control.process(before)
    session.reset([1])
    output, expected = session.process(after), control.process(after)
    assert torch.equal(output[[0, 2]], expected[[0, 2]])
    fresh = make_session(batch=3).process(after)
    taps = 21
    torch.testing.assert_close(output[1, ..., taps + 4 :], fresh[1, ..., taps + 4 :], rtol=0, atol=1e-6)
    assert not torch.allclose(output[1], expected[1])


def test_a_reset_row_of_the_causal_model_starts_afresh() -> None:
    model = tiny(lookahead=1)
    mix = torch.randn(3, 2, 20 * model.hop, generator=torch.Generator().manual_seed(1))
    used, control, fresh = (make_session(model, batch=3, fade=1) for _ in range(3))
    for session in (used, control):
        session.process(mix)
    used.reset([2])
    output, expected = used.process(mix), control.process(mix)
    torch.testing.assert_close(output[:2], expected[:2], rtol=0, atol=0)
    torch.testing.assert_close(output[2], fresh.process(mix)[2], rtol=0, atol=1e-5)


def test_reset_fades_what_sounded_out_and_what_comes_in() -> None:
    session = make_session(DelaySplit(HOP, latency=0), fade=4)
    session.process(torch.ones(1, 2, HOP))
    session.reset()
    output = session.process(-torch.ones(1, 2, HOP)).sum(dim=1)[0, 0]
    # The old 1 dies away as 3/4, 2/4, 1/4, 0 while the new -1 comes in as 1/4, 2/4, 3/4, 1.
    torch.testing.assert_close(output[:4], torch.tensor([0.5, 0.0, -0.5, -1.0]))
    assert torch.equal(output[4:], -torch.ones(4))


def test_splice_fades_the_input_in_and_keeps_the_state() -> None:
    session = make_session(DelaySplit(HOP, latency=HOP), fade=4)
    session.process(torch.ones(1, 2, HOP))
    session.splice()
    pending = session.process(torch.ones(1, 2, HOP)).sum(dim=1)[0, 0].clone()
    faded = session.process(torch.zeros(1, 2, HOP)).sum(dim=1)[0, 0]
    assert torch.equal(pending, torch.ones(HOP))
    torch.testing.assert_close(faded, torch.tensor([0.25, 0.5, 0.75, 1, 1, 1, 1, 1]))


def test_input_is_made_finite_and_bounded() -> None:
    session = make_session(DelaySplit(HOP, latency=0))
    mix = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 0.5, 0.0, 1.0]).expand(1, 2, HOP)
    output = session.process(mix).sum(dim=1)[0, 0]
    assert output.tolist() == [0, 0, 0, INPUT_LIMIT, -INPUT_LIMIT, 0.5, 0.0, 1.0]
    assert torch.isnan(mix).any(), "the caller's own chunk must stay as it was"


class Poisoned(Fir):
    """Goes non-finite for good in a row whose input ever exceeds 10."""

    def step(self, mix: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        sources, state = super().step(mix, state)
        state[0][(mix.abs() > 10).flatten(1).any(dim=1)] = float("nan")
        return sources + 0 * state[0].sum(dim=(1, 2))[:, None, None, None], state


def test_a_row_gone_non_finite_is_silenced_and_comes_back() -> None:
    session, control = make_session(Poisoned(HOP), batch=2), make_session(Fir(HOP), batch=2)
    loud = rows(2, 1)
    loud[0, 0, 3] = 20.0
    torch.testing.assert_close(session.process(loud)[1], control.process(loud)[1])
    assert session.recoveries == 1
    after = rows(2, 6, 3)
    output, expected = session.process(after), control.process(after)
    assert torch.isfinite(output).all()
    torch.testing.assert_close(output[1], expected[1])
    torch.testing.assert_close(output[0, ..., 25:], expected[0, ..., 25:])
    assert session.recoveries == 1


class Hiccup(DelaySplit):
    """Answers nonsense to a chunk that exceeds 10."""

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        sources, state = super().step(mix, state)
        return (sources * float("nan") if mix.max() > 10 else sources), state


def test_the_seams_of_a_recovery_fade() -> None:
    """What sounded before the silence dies away, and what follows it comes in."""
    session, ones = make_session(Hiccup(HOP, latency=0), fade=4), torch.ones(1, 2, HOP)
    session.process(ones)
    broken = session.process(20 * ones).sum(dim=1)[0, 0].clone()
    after = session.process(ones).sum(dim=1)[0, 0]
    assert session.recoveries == 1
    torch.testing.assert_close(broken, torch.tensor([0.75, 0.5, 0.25, 0, 0, 0, 0, 0]))
    torch.testing.assert_close(after, torch.tensor([0.25, 0.5, 0.75, 1, 1, 1, 1, 1]))


@pytest.mark.parametrize("executor", ["eager", "static"])
def test_warm_up_leaves_no_trace(executor: str) -> None:
    def fresh() -> Session:
        eager = make_executor("eager", Fir(HOP), max_chunk=2)
        return Session(StaticExecutor(Fir(HOP), device="cpu", max_chunk=2) if executor == "static" else eager)

    session, control = fresh(), fresh()
    first, second = rows(1, 2), rows(1, 2, 4)
    assert torch.equal(session.process(first), control.process(first))
    assert len(session.warm_up(3)) == 3
    assert torch.equal(session.process(second), control.process(second))


@pytest.mark.parametrize(
    "shape", [(1, 2, HOP + 1), (2, 2, HOP), (1, 2, 0), (1, 1, HOP), (1, 6, HOP), (2, HOP), (HOP,), ()]
)
def test_chunks_of_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a chunk is"):
        make_session().process(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_chunks_of_any_floating_type_are_cast_to_the_model_s(dtype: torch.dtype) -> None:
    model = tiny(lookahead=0)
    mix = (0.1 * torch.randn(1, 2, 4 * model.hop, generator=torch.Generator().manual_seed(1))).to(dtype)
    output = make_session(model).process(mix)
    torch.testing.assert_close(output, make_session(model).process(mix.float()), rtol=0, atol=0)


def test_chunks_of_integers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got torch\.int16; divide it by its full scale"):
        make_session().process(torch.zeros(1, 2, HOP, dtype=torch.int16))


def test_a_warm_up_may_leave_the_short_chunks_out() -> None:
    lengths: list[int] = []

    class Notes(DelaySplit):
        def step(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
            lengths.append(mix.shape[-1] // self.hop)
            return super().step(mix, state)

    session = Session(make_executor("eager", Notes(), max_chunk=3))
    assert len(session.warm_up(2)) == 2
    assert len(session.warm_up(4, shortest=3)) == 4
    assert lengths == [1, 1, 2, 2, 3, 3, 3, 3, 3, 3]


def test_long_chunks_are_warmed_up_by_doublings_and_recorded_ones_one_by_one() -> None:
    session = Session(make_executor("eager", DelaySplit(), max_chunk=100))
    assert session._lengths(1) == [1, 2, 4, 8, 16, 32, 64, 100]
    assert session._lengths(100) == [100]
    recorded = StaticExecutor(DelaySplit(), device="cpu", max_chunk=5)
    assert Session(recorded)._lengths(1) == [1, 2, 4, 5]
    recorded.graphs = True
    assert Session(recorded)._lengths(1) == [1, 2, 3, 4, 5]
