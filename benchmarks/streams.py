"""How many streams one device carries: ticks of a full pool whose p99 is below a hop, over the size of the batch.

    python benchmarks/streams.py [MODEL ...] [--device cpu] [--json benchmarks/results/streams.json]

The batch doubles until a tick's p99 outlasts the hop, or memory ends, and what lies between the last two sizes is
halved until it is known to an eighth. A tick is all that a pool does: hops taken from the seats, made finite, copied to
the device, stepped, copied back, looked at and handed out; to feed and to read is for the seats' own threads. Random
weights: times do not depend on them. Without CUDA, or with `--device cpu`, steps are an eager batch on one core. A
result file keeps one entry for each kind of device, and a run writes its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import place  # noqa: E402
from benchmarks.turns import Times, percentiles  # noqa: E402
from streamsep.engine.executor import EagerExecutor, Executor, inference_thread  # noqa: E402
from streamsep.engine.pool import StreamPool  # noqa: E402
from streamsep.engine.static_executor import StaticExecutor  # noqa: E402
from streamsep.engine.static_options import StaticOptions  # noqa: E402
from tests.models import preset  # noqa: E402

MODELS = ("live-12", "live-12-small", "live-23", "live-23-small")
RESULT = ROOT / "benchmarks" / "results" / "streams.json"
LIMIT = 8192  # streams that nobody asks for
Row = dict[str, Any]


def make_executor(model: Any, batch: int, device: str, precision: str) -> Executor:
    """What a server would use: a graph on a GPU, an eager batch on a CPU."""
    if device == "cpu":
        return EagerExecutor(model, batch=batch)
    return StaticExecutor(model, batch=batch, device=device, options=StaticOptions(precision))


def time_ticks(executor: Executor, ticks: int, warm_up: int = 5) -> Times:
    """Seconds of each tick of a full pool in which every seat has a hop."""
    pool = StreamPool(executor, backlog=1)
    seats = [pool.open() for _ in range(pool.rows)]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (len(seats), 2, pool.hop)).astype(np.float32)
    times = []
    for _ in range(warm_up + ticks):
        for seat, mix in zip(seats, noise, strict=True):
            seat.feed(mix)
        began = time.perf_counter()
        stepped = pool.tick()
        times.append(time.perf_counter() - began)
        assert stepped == len(seats)
        for seat in seats:
            seat.read()
    return np.array(times[warm_up:])


def search(fits: Callable[[int], bool]) -> int:
    """The largest batch that fits, to an eighth: doubling, then bisecting; 0 where not even one does."""
    good, bad = 0, 1
    while bad <= LIMIT and fits(bad):
        good, bad = bad, 2 * bad
    while good and bad <= LIMIT and bad - good > max(1, good // 8):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def measure(name: str, model: Any, device: str, precision: str, ticks: int) -> tuple[int, list[Row]]:
    """The number of streams that fit, and a row for each batch that was tried."""
    rows, deadline = list[Row](), model.hop / model.sample_rate

    def fits(batch: int) -> bool:
        row: Row = {"model": name, "precision": precision, "streams": batch, "hop_ms": 1000 * deadline}
        try:
            times = time_ticks(make_executor(model, batch, device, precision), ticks)
        except RuntimeError as error:  # memory that ends while a graph is recorded has other names
            rows.append(row | {"error": str(error).splitlines()[0]})
        else:
            rows.append(row | percentiles(times, deadline))
        gc.collect()
        if device != "cpu":
            torch.cuda.empty_cache()
        print(rows[-1], flush=True)
        return float(rows[-1].get("p99_ms", np.inf)) < 1000 * deadline

    most = search(fits)
    return most, sorted(rows, key=lambda row: row["streams"])


def write(path: Path, kind: str, found: Row) -> None:
    """Put the entry of this kind of device into the file."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(before | {kind: found}, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"(default: {', '.join(MODELS)}; small ones on a CPU)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="bfloat16", help="of the networks on a GPU (default %(default)s)")
    parser.add_argument("--ticks", type=int, help="of each batch (default: 400 on a GPU, 60 on a CPU)")
    parser.add_argument("--json", type=Path, default=RESULT, help="(default %(default)s)")
    args = parser.parse_args()
    cpu = args.device == "cpu"
    models = args.models or [name for name in MODELS if not cpu or name.endswith("small")]
    precision, ticks = "float32" if cpu else args.precision, args.ticks or (60 if cpu else 400)
    found: Row = place(args.device) | {"most": {}, "rows": []}
    with inference_thread():
        for name in models:
            model = preset(name).to(args.device)
            found["most"][name], rows = measure(name, model, args.device, precision, ticks)
            found["rows"] += rows
            write(args.json, "cpu" if cpu else "cuda", found)


if __name__ == "__main__":
    main()
