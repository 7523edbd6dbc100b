"""The two sides of `offline.py`, each in a process of its own: demucs 4.1.0, and ours.

    python -m benchmarks.offline_sides demucs WEIGHTS SONG FOLDER     a song to stems by demucs' Python interface
    python -m benchmarks.offline_sides serve SIDE WEIGHTS DEVICE      one task a line: {"task": "song", "threads": 2}

Side: demucs, "demucs, memory kept" (with the allocator set as `streamsep separate` sets it), or ours with a precision:
fp32, bf16, int8, and on CUDA "bf16, compiled". A served task answers with its seconds; what it needs is loaded before.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
SONG = ROOT / "examples" / "lithium" / "mix.ogg"
SOURCES = ("drums", "bass", "other", "vocals")
OVERLAP = 0.25


def demucs_model(weights: Path) -> Any:
    """The reference's htdemucs with the weights of a checkpoint of ours."""
    from demucs.htdemucs import HTDemucs

    model = HTDemucs(SOURCES, bottom_channels=512, dconv_mode=3, multi_freqs=[], segment=Fraction(39, 5))
    model.load_state_dict(load_file(weights))
    return model.eval()


def demucs_song(model: Any, mix: Tensor) -> Tensor:
    """Stems [S, C, T] of `mix [C, T]` as `demucs.separate` makes them, without shifts."""
    from demucs.apply import apply_model

    mid = mix.mean(0)
    levelled = (mix - mid.mean()) / mid.std()
    stems: Tensor = apply_model(model, levelled[None], shifts=0, split=True, overlap=OVERLAP)[0]
    return stems * mid.std() + mid.mean()


def read(path: Path) -> tuple[Tensor, int]:
    """Samples [C, T] and their rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def demucs_whole(weights: Path, song: Path, folder: Path) -> None:
    """A song to float32 stems on disk."""
    mix, rate = read(song)
    with torch.no_grad():
        stems = demucs_song(demucs_model(weights), mix)
    folder.mkdir(parents=True, exist_ok=True)
    for name, stem in zip(SOURCES, stems, strict=True):
        soundfile.write(folder / f"{name}.wav", stem.T.numpy(), rate, subtype="FLOAT")


def demucs_tasks(weights: Path, device: str) -> dict[str, Callable[[], object]]:
    """What the reference is asked for: a segment through the model, or a song."""
    model, mix = demucs_model(weights).to(device), read(SONG)[0]
    segment = mix[None, :, : int(model.segment * model.samplerate)].to(device)
    if device == "cpu":
        return {"segment": lambda: model(segment), "song": lambda: demucs_song(model, mix)}
    return {"segment": lambda: model(segment), "song": lambda: demucs_song(model, mix.to(device)).cpu()}


def our_tasks(weights: Path, device: str, how: str) -> dict[str, Callable[[], object]]:
    """The same of ours; `how` is a precision, with or without ", compiled"."""
    from streamsep.models.apply import apply_levelled
    from streamsep.models.precision import compile_networks, quantise, reduced
    from streamsep.models.registry import load_model

    model: Any = load_model(weights, device=device).eval()
    precision: Any = "bf16" if how.startswith("bf16") else "fp32"
    if how == "int8":
        model = quantise(model)
    if how.endswith("compiled"):
        compile_networks(model)
    mix = read(SONG)[0][None]
    segment = mix[..., : model.max_length].to(device)

    def one() -> None:
        with reduced(torch.device(device), precision):
            model(segment)

    return {"segment": one, "song": lambda: apply_levelled(model, mix, overlap=OVERLAP, precision=precision)}


def serve(side: str, weights: Path, device: str) -> None:
    """Read tasks line by line, answer with seconds."""
    if not side.startswith("demucs") or side.endswith("kept"):
        from streamsep.cli.allocator import keep_memory

        keep_memory()
    tasks = demucs_tasks(weights, device) if side.startswith("demucs") else our_tasks(weights, device, side)
    for line in sys.stdin:
        order = json.loads(line)
        torch.set_num_threads(order["threads"])
        began = time.perf_counter()
        with torch.no_grad():
            tasks[order["task"]]()
        if device != "cpu":
            torch.cuda.synchronize()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, *rest = sys.argv[1:]
    if kind == "serve":
        serve(rest[0], Path(rest[1]), rest[2])
    else:
        demucs_whole(*map(Path, rest))
