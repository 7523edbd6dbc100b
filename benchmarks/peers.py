"""Beside HS-TasNet: seconds of one core for a second of sound, hop by hop, taking turns in one run.

    pip install --no-deps -r requirements-peers.txt
    python -m benchmarks.peers [--rounds 40] [--json benchmarks/results/peers.json]

HS-TasNet (S. Venkatesh et al., "Real-time Low-latency Music Source Separation using Hybrid Spectrogram-TasNet", 2024)
by its public port, with random weights, through the port's own streaming step. Its hop is ours to a sample: 512. What
the port imports for files, devices and plots is replaced by nothing. Quality is not compared: it has no weights here.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

from benchmarks.turns import take_turns, write_result
from streamsep.bench.figures import Times, percentiles
from streamsep.bench.steps import Step, stepper
from streamsep.engine.executor import inference_thread, make_executor
from streamsep.errors import StreamsepError, telling
from streamsep.models.registry import load_model

OURS = "live-23-small"
BOUT = 16  # hops of one, then of the next: the port's weights alone fill every cache
NEEDLESS = (
    *("torchaudio", "torchaudio.functional", "torchcodec", "torchcodec.encoders", "sounddevice", "loguru", "librosa"),
    *("matplotlib", "matplotlib.pyplot"),
)


def hs_tasnet() -> Any:
    """The port's class, from its one module; its package would import training too."""
    package = importlib.util.find_spec("hs_tasnet")
    if package is None or not package.submodule_search_locations:
        raise StreamsepError("HS-TasNet is not installed; run the pip command at the head of benchmarks/peers.py")
    path = Path(package.submodule_search_locations[0]) / "hs_tasnet.py"
    spec = importlib.util.spec_from_file_location("hs_tasnet_alone", path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    before = {name: sys.modules.get(name) for name in NEEDLESS}
    sys.modules.update({name: MagicMock() for name in NEEDLESS})
    try:
        spec.loader.exec_module(module)
    finally:
        for name, had in before.items():
            sys.modules.pop(name) if had is None else sys.modules.update({name: had})
    return module.HSTasNet


def peer_step(model: Any) -> Step:
    """The port's streaming step on noise."""
    transform, noise = model.init_stateful_transform_fn(), 0.1 * torch.randn(64, 2, model.overlap_len)
    turn = iter(range(1 << 62))
    return lambda: transform(noise[next(turn) % 64])


def row(name: str, times: Times, model: Any, hop: int, rate: int) -> dict[str, Any]:
    """One system: its size, its steps, and seconds of a core for a second of sound."""
    parameters = sum(value.numel() for value in model.parameters())
    figures = percentiles(times, hop / rate)
    return {"system": name, "parameters": parameters, "hop": hop, "rate": rate, **figures}


def run(rounds: int) -> dict[str, Any]:
    """All systems in one run; `ratio` is the port's time over ours: of the medians, and the median over the bouts."""
    torch.manual_seed(0)
    peers = {"HS-TasNet": hs_tasnet()(), "HS-TasNet small": hs_tasnet()(small=True)}
    ours: Any = load_model(OURS)
    models = {**peers, f"{OURS}, eager": ours, f"{OURS}, onnx": ours}
    with inference_thread():
        steps = {name: peer_step(model.eval()) for name, model in peers.items()}
        steps |= {f"{OURS}, {kind}": stepper(make_executor(kind, ours)) for kind in ("eager", "onnx")}
        times = take_turns(steps, rounds, "taking turns", bout=BOUT)
    rows = []
    for name, model in models.items():
        hop = getattr(model, "overlap_len", None) or model.hop
        rows.append(row(name, times[name], model, hop, model.sample_rate))
    by_name = {r["system"]: r["rtf"] for r in rows}
    theirs, mine = (np.median(times[name].reshape(-1, BOUT), 1) for name in ("HS-TasNet", f"{OURS}, onnx"))
    ratio = by_name["HS-TasNet"] / by_name[f"{OURS}, onnx"]
    return {"rows": rows, "bout": BOUT, "ratio": ratio, "ratio_by_bout": float(np.median(theirs / mine))}


@telling("peers")
def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="bouts of each (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    write_result(args.json, run(args.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
