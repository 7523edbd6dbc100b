"""Measure everything that this machine can, one after the other, then write the tables and draw the steps.

    python -m benchmarks.run_all [PART ...]

What fails is told at the end, and does not stop the rest. Nothing else should run on the machine meanwhile. Not among
the parts are quality, which needs the songs, the seams of the sliding window, which need trained weights, and
`soak.py`, which needs JACK; the head of `write_tables.py` has their commands.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SONG = ("examples/lithium/mix.ogg", "--stems", "examples/lithium")


@dataclass(frozen=True)
class Part:
    """A command that takes `--json FILE`.

    Attributes:
        command: arguments of Python.
        minutes: that it takes on two quiet cores.
        about: what is measured.
        cuda: whether it needs a GPU.
    """

    command: tuple[str, ...]
    minutes: float
    about: str
    cuda: bool = False


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return ("-m", f"benchmarks.{name}", *arguments)


PARTS = {
    "steps": Part(_script("steps"), 4, "steps of the small models on one core"),
    "peers": Part(_script("peers"), 1.5, "the shipped model beside HS-TasNet"),
    "aging": Part(_script("aging"), 4, "what a step costs as things grow"),
    "streams": Part(_script("streams"), 1, "how many streams one core, or a GPU, carries"),
    "gpu": Part(_script("gpu"), 3, "one stream on a GPU, by every way to run it", cuda=True),
    "offline": Part(_script("offline", "--minutes", "4"), 4, "offline separation beside demucs"),
    "sliding": Part(_script("sliding", "realtime"), 3.5, "an offline model behind a sliding window, in real time"),
    "live": Part(("-m", "streamsep", "stream", *SONG), 0.5, "the example song through the live path"),
    "realtime": Part(("-m", "streamsep", "stream", *SONG, "--realtime"), 0.7, "the same in real time"),
    "realtime_12": Part(("-m", "streamsep", "stream", *SONG, "--realtime", "-n", "live-12-small"), 0.7, "at 11.6 ms"),
}


def main() -> int:
    """Run, tell, write; returns how many parts failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    names = parser.parse_args().parts or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; choose from {', '.join(PARTS)}")
    if absent := [name for name in names if PARTS[name].cuda and not torch.cuda.is_available()]:
        print(f"not measured, for there is no CUDA device: {', '.join(absent)}", flush=True)
        names = [name for name in names if name not in absent]
    print(f"about {sum(PARTS[name].minutes for name in names):.0f} minutes on two quiet cores", flush=True)
    failed = [name for number, name in enumerate(names, 1) if not _run(name, f"[{number}/{len(names)}]")]
    for script in ("write_tables", "draw_steps"):
        subprocess.run([sys.executable, *_script(script)], cwd=ROOT, check=True)
    if failed:
        print(f"failed, and their tables are as they were: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _run(name: str, number: str) -> bool:
    """One part, its progress bars on stderr; whether it ended well."""
    part, began = PARTS[name], time.monotonic()
    print(f"{number} {name}: {part.about}, about {part.minutes:g} min", flush=True)
    command = [sys.executable, *part.command, "--json", str(RESULTS / f"{name}.json")]
    code = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode
    print(
        f"{number} {name}: {'done' if code == 0 else 'FAILED'} in {(time.monotonic() - began) / 60:.1f} min", flush=True
    )
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
