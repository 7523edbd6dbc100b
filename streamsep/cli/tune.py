"""`streamsep tune`: how long an offline model takes for a window on this machine, and how it can stream with that."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.cli.options import add_model_flags, duration, file_name, pick_device, positive_float, positive_int
from streamsep.errors import StreamsepError
from streamsep.models.defaults import OFFLINE_DEFAULTS

if TYPE_CHECKING:
    from streamsep.engine.session import Session
    from streamsep.models.sliding import OfflineModel, Windowing
    from streamsep.models.tuning import Place, Tuning

_WINDOWS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # seconds, as far as the segment goes, and the segment
_LEAST_STEPS = 10
_LONGEST_HOP = 2.0  # seconds; where even that is too short, longer windows are not tried
_HEADER = ("window s", "p50 ms", "p99 ms", "p99.9 ms", "steps", "hop ms", "look-ahead up to s", "delay s")


@dataclass(frozen=True)
class Wish:
    """What is to be found out, and how thoroughly.

    Attributes:
        lookahead: in seconds; delay: as in `streamsep.models.tuning.Tuning`.
        margin: part of a hop to leave free.
        seconds: of the clock for each window; trial: for the choice, in real time.
    """

    lookahead: float = 0.5
    delay: float | None = None
    margin: float = 0.2
    seconds: float = 4.0
    trial: float = 10.0


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "tune",
        help="find out how an offline model can stream on this machine",
        description="Measure an offline model over windows of several lengths, choose window and hop for a look-ahead "
        "such that every step is done in time, try that out in real time, and keep the figures: `--model NAME "
        "--lookahead TIME` uses them from then on.",
    )
    add_model_flags(parser, " or ".join(OFFLINE_DEFAULTS))
    parser.add_argument(
        "--lookahead", type=duration, default=0.5, metavar="TIME", help="such as 500ms (default %(default)s s)"
    )
    parser.add_argument(
        "--delay",
        type=duration,
        metavar="TIME",
        help="greatest sum of look-ahead and hop (default: twice the look-ahead, at least 1 s)",
    )
    parser.add_argument(
        "--margin", type=_share, default=0.2, metavar="F", help="part of a hop to leave free (default %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=1,
        metavar="N",
        help="CPU threads of a step; streams use the figures of one, and only `bench --threads N` those of more "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=positive_float, default=4.0, help="measured for each window (default %(default)s)"
    )
    parser.add_argument(
        "--trial", type=positive_float, default=10.0, help="seconds of the trial in real time (default %(default)s)"
    )
    parser.add_argument("--json", type=file_name, metavar="FILE", help="write all figures to FILE")
    parser.set_defaults(run=run)


def _share(text: str) -> float:
    value = positive_float(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{value} is not below 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Measure, choose, try out, keep, tell."""
    from streamsep.files import staged
    from streamsep.models.load import check_stereo, tuning_key
    from streamsep.models.registry import default_model, load_model
    from streamsep.models.separator import Separator
    from streamsep.models.tuning import plan, save_tuning, this_place

    if args.delay is not None and args.delay <= args.lookahead:
        raise StreamsepError(
            f"a delay holds the look-ahead of {args.lookahead:g} s and a hop; choose a longer --delay or a shorter "
            "--lookahead"
        )
    device, name = pick_device(args.device), args.model or default_model("offline")
    model: Any = load_model(name, device=device)
    if isinstance(model, Separator):
        raise StreamsepError(f"{name} streams by itself, at its own hop; streamsep tune is for offline models")
    check_stereo(model, name)
    place = this_place(str(device), args.threads)
    wish = Wish(args.lookahead, args.delay, args.margin, args.seconds, args.trial)
    with contextlib.ExitStack() as stack:
        # Made first: a folder that cannot be written is better known before the work than after it.
        files = stack.enter_context(staged([args.json], "choose another --json")) if args.json else []
        tuning = measure(model, tuning_key(name), place, wish, str(device))
        moves = plan(tuning, args.lookahead)
        if moves is not None and args.delay is not None:
            _check_delay(tuning, moves, args.delay, name)
        kept = save_tuning(tuning)
        _tell(tuning, moves, args.lookahead)
        if moves is None:
            raise StreamsepError(
                f"no window of {name} keeps up here with a look-ahead of {args.lookahead:g} s; choose a smaller model, "
                "a shorter --lookahead or a smaller --margin"
            )
        for path in files:
            _write(path, tuning, moves)
        print(f"kept in {kept}")
    return 0


def _check_delay(tuning: Tuning, moves: Windowing, delay: float, name: str) -> None:
    """Refuse the plan that is left where no window is quick enough; its delay is the least there is."""
    least = (moves.lookahead + moves.hop) / tuning.sample_rate
    if moves.lookahead + moves.hop <= delay * tuning.sample_rate:
        return
    _tell(tuning, None, moves.lookahead / tuning.sample_rate)
    raise StreamsepError(
        f"no window of {name} keeps up here within a delay of {delay:g} s; choose --delay {math.ceil(1000 * least)}ms "
        "or longer, a smaller model, a shorter --lookahead or a smaller --margin"
    )


def measure(model: OfflineModel, key: str, place: Place, wish: Wish, device: str = "cpu") -> Tuning:
    """Steps over each window as fast as they go, then those of the choice in real time, until the choice stands.

    Args:
        model: on `device`.
        key: what the tuning calls it.
    """
    from tqdm import tqdm

    from streamsep.engine.executor import inference_thread
    from streamsep.models.sliding import Windowing
    from streamsep.models.tuning import Tuning, plan, times_of

    rate, seconds = model.sample_rate, dict[int, list[float]]()

    def so_far() -> Tuning:
        rows = tuple(times_of(window, times) for window, times in seconds.items())
        return Tuning(key, place, rate, wish.margin, rows, wish.delay)

    with inference_thread(place.threads), tqdm(desc="tuning", unit="step", disable=None) as bar:
        for window in _windows(model):
            session = _session(model, Windowing(window, window, 0, 0), device)
            seconds[window] = list(_steps(session, wish.seconds, bar, realtime=False))
            if so_far().measured[-1].hop(wish.margin, rate) > _LONGEST_HOP * rate:
                break
        tried = None
        while (moves := plan(so_far(), wish.lookahead)) not in (None, tried):
            assert moves is not None
            tried = moves
            seconds[moves.window] += _steps(_session(model, moves, device), wish.trial, bar, realtime=True)
    return so_far()


def _windows(model: OfflineModel) -> list[int]:
    shorter = [round(window * model.sample_rate) for window in _WINDOWS]
    return [*(window for window in shorter if window < model.max_length), model.max_length]


def _session(model: OfflineModel, moves: Windowing, device: str) -> Session:
    from streamsep.engine.executor import make_executor
    from streamsep.engine.session import Session
    from streamsep.models.sliding import SlidingSeparator

    session = Session(make_executor("auto", SlidingSeparator(model, moves), device=device))
    session.warm_up(2)
    return session


def _steps(session: Session, seconds: float, bar: Any, realtime: bool) -> Iterator[float]:
    """How long each step takes, for `seconds` of the clock and `_LEAST_STEPS` at least; in real time, once a hop."""
    import torch

    hop, separator = session.hop, session.executor.separator
    bar.set_description(f"window {getattr(separator, 'moves').window / separator.sample_rate:.3g} s")  # noqa: B009
    began = due = time.perf_counter()
    count = 0
    while count < _LEAST_STEPS or time.perf_counter() - began < seconds:
        mix = 0.1 * torch.randn(1, 2, hop)
        if realtime:
            due = max(due + hop / separator.sample_rate, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        session.process(mix).cpu()
        yield time.perf_counter() - start
        count += 1
        bar.update()


def _tell(tuning: Tuning, moves: Windowing | None, lookahead: float) -> None:
    """A table of all windows, then the choice."""
    print(f"{tuning.model} on {tuning.place.machine}, {tuning.place.device}, threads: {tuning.place.threads}")
    rows: list[Sequence[str]] = [_HEADER]
    for row in tuning.measured:
        window, hop = row.window / tuning.sample_rate, row.hop(tuning.margin, tuning.sample_rate) / tuning.sample_rate
        times = [f"{1000 * value:.1f}" for value in (row.p50, row.p99, row.p999)]
        most = window - hop
        held = [f"{most:.2f}", f"{lookahead + hop:.2f}" if most >= lookahead else "-"] if most > 0 else ["none", "-"]
        rows.append((f"{window:.2f}", *times, str(row.steps), f"{1000 * hop:.0f}", *held))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    for line in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if moves is not None:
        delay = (moves.lookahead + moves.hop) / tuning.sample_rate
        free = f"{100 * tuning.margin:.0f} % of each hop free"
        print(f"chosen: {moves.text(tuning.sample_rate)}: a delay of {delay:.3g} s, {free}")


def _write(path: Path, tuning: Tuning, moves: Windowing) -> None:
    from streamsep.config import to_dict

    text = json.dumps({"tuning": to_dict(tuning), "chosen": to_dict(moves)}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
