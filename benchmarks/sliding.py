"""The sliding separator against the clock, and its seams.

    python benchmarks/sliding.py realtime [--lookahead 0.25] [--json benchmarks/results/sliding.json]
    python benchmarks/sliding.py seams [--json benchmarks/results/seams.json]

`realtime` lets the planner choose window and hop, then sends the example song through the model for two minutes, one
hop at its time, and counts the steps that were not done before the next hop was there. A process beside it does
nothing but wake up every millisecond: a miss during which that one slept through all the time that the step had to
spare is the machine's. `seams` compares the borders of successive windows with those of the offline overlap-add on
the example song, at equal distances: what splicing adds to the roughness (`evaluation/splices.py`), and the seam figure
(`evaluation/seams.py`), which a random network's own roughness blurs. Presets without weights get random ones, of
which neither depends much.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from streamsep.cli.tune import Wish, measure
from streamsep.config import to_dict
from streamsep.engine.executor import EagerExecutor, inference_thread
from streamsep.engine.session import Session
from streamsep.errors import StreamsepError, telling
from streamsep.evaluation.seams import find_seam
from streamsep.evaluation.splices import Answer, offline_answers, sliding_answers, splice, splice_figure
from streamsep.files import read_audio, resample
from streamsep.models.offline_layers import LayerScale
from streamsep.models.registry import build_preset, find_weights, load_model, preset_names
from streamsep.models.sliding import SlidingSeparator, windowing
from streamsep.models.tuning import plan, this_place

SONG = Path(__file__).parents[1] / "examples" / "lithium" / "mix.ogg"
LOOKAHEADS = (0.05, 0.25, 1.0)
SEAM_HOP = 0.25


def load(name: str) -> Any:
    """The model, with random weights where it is a preset without any; what is near zero at first is drawn anew."""
    if name not in preset_names() or find_weights(name):
        return load_model(name)
    torch.manual_seed(0)
    model = build_preset(name).eval()
    for module in model.modules():
        if isinstance(module, LayerScale):
            torch.nn.init.uniform_(module.scale, 0.3, 1.0)
    return model


def music(rate: int) -> Tensor:
    """The example song, `[1, 2, T]`."""
    samples, own = read_audio(SONG)
    return torch.from_numpy(resample(samples, own, rate))[None]


def watch(out: Any, stop: Any) -> None:
    """Wake every millisecond; report (begin, end) of each sleep that took more than twice as long."""
    out.put("ready")
    last, sleeps = time.perf_counter(), []
    while not stop.is_set():
        time.sleep(0.001)
        now = time.perf_counter()
        if now - last > 0.002:
            sleeps.append((last, now))
        last = now
    out.put(sleeps)


def play(separator: SlidingSeparator, mix: Tensor, seconds: float) -> list[tuple[float, float, float]]:
    """Each step's begin, end and deadline: a hop starts when its last sample is there, and has a hop's time."""
    session, hop = Session(EagerExecutor(separator)), separator.hop
    session.warm_up(3)
    steps = []
    began = time.perf_counter()
    for k in tqdm(range(int(seconds * separator.sample_rate / hop)), desc="in real time", unit="hop"):
        due = began + (k + 1) * hop / separator.sample_rate
        time.sleep(max(0.0, due - time.perf_counter()))
        at = k * hop % (mix.shape[-1] - hop)
        start = time.perf_counter()
        session.process(mix[..., at : at + hop])
        steps.append((start, time.perf_counter(), due + hop / separator.sample_rate))
    return steps


def realtime(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, play, count."""
    model = load(args.model)
    wish = Wish(args.lookahead, args.delay, args.margin)
    tuning = measure(model, Path(args.model).name, this_place(threads=args.threads), wish)
    moves = plan(tuning, args.lookahead)
    if moves is None:
        raise StreamsepError(f"{args.model} does not keep up here; choose a smaller --model")
    separator = SlidingSeparator(model, moves)
    print(f"{args.model}: {moves.text(separator.sample_rate)}")
    context = multiprocessing.get_context("spawn")
    out, stop = context.Queue(), context.Event()
    watcher = context.Process(target=watch, args=(out, stop), daemon=True)
    watcher.start()
    out.get()
    with inference_thread(args.threads):
        steps = play(separator, music(separator.sample_rate), args.seconds)
    stop.set()
    sleeps = out.get()
    watcher.join()
    facts = {"model": Path(args.model).name, "tuning": to_dict(tuning), "chosen": to_dict(moves)}
    return facts | verdict(steps, sleeps)


def verdict(steps: list[tuple[float, float, float]], sleeps: list[tuple[float, float]]) -> dict[str, Any]:
    """Misses, those that the machine's own stalls account for, and percentiles of the step."""
    took = np.array([end - start for start, end, _ in steps])
    usual = float(np.median(took))
    misses = [step for step in steps if step[1] > step[2]]
    excused = [
        (start, end, due)
        for start, end, due in misses
        if sum(min(end, b) - max(start, a) for a, b in sleeps if a < end and b > start) > max(0.0, due - start - usual)
    ]
    p50, p99, p999 = np.percentile(1000 * took, [50, 99, 99.9])
    return {
        "steps": len(steps),
        "misses": len(misses),
        "excused": len(excused),
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
        "watcher_longest_ms": 1000 * max((b - a for a, b in sleeps), default=0.0),
    }


def seams(args: argparse.Namespace) -> dict[str, Any]:
    """What splicing adds, and the seam figures: of the offline overlap-add, then of the window by its look-ahead."""
    model = load(args.model)
    mix = music(model.sample_rate)[..., : round(args.seconds * model.sample_rate)]
    hop = round(SEAM_HOP * model.sample_rate)
    torch.set_num_threads(args.threads)
    # Segments as short as the hops are not to be padded to the training segment: the time is better spent on music.
    model.config = replace(model.config, use_train_segment=False)
    rows = {}
    with torch.inference_mode():
        answers = offline_answers(model, mix, round(hop / 0.75), hop)  # overlapping by a quarter, as is usual
        rows["offline"] = figures(tqdm(answers, desc="offline", unit="segment"), mix, hop, 0)
        for lookahead in LOOKAHEADS:
            ahead = round(lookahead * model.sample_rate)
            separator = SlidingSeparator(model, windowing(ahead + 2 * hop, hop, ahead))
            answers = sliding_answers(separator, mix)
            rows[f"{lookahead:g}"] = figures(tqdm(answers, desc=f"{lookahead} s", unit="window"), mix, hop, -ahead)
    return {"model": Path(args.model).name, "seconds": mix.shape[-1] / model.sample_rate, "hop": hop, "seams": rows}


def figures(answers: Iterable[Answer], mix: Tensor, period: int, offset: int) -> dict[str, Any]:
    """In dB; of each stem also in deviations of the phases that are no border."""
    total, added = splice(answers, mix.shape[-1])
    found = [find_seam([stem.T.numpy()], period, offset) for stem in total]
    stems = [{"figure": seam.figure, "sigma": seam.sigma} for seam in found]
    return {"splices": splice_figure(total, added, period), "stems": stems}


@telling("sliding")
def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("realtime", "seams"))
    parser.add_argument("--model", help="preset or checkpoint (default: htdemucs-small, for seams htdemucs)")
    parser.add_argument("--lookahead", type=float, default=0.25, help="seconds (default %(default)s)")
    parser.add_argument("--delay", type=float, help="greatest delay in seconds (default: as streamsep tune)")
    parser.add_argument("--margin", type=float, default=0.2, help="part of a hop left free (default %(default)s)")
    parser.add_argument("--seconds", type=float, help="of music (default: 120, for seams the whole song)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    args.model = args.model or {"realtime": "htdemucs-small", "seams": "htdemucs"}[args.what]
    args.seconds = args.seconds or {"realtime": 120.0, "seams": 1e9}[args.what]
    result = {"realtime": realtime, "seams": seams}[args.what](args)
    print(json.dumps({key: value for key, value in result.items() if key != "tuning"}, indent=2))
    if args.json:
        machine = {"machine": this_place().machine, "torch": torch.__version__}
        args.json.write_text(json.dumps(machine | result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
