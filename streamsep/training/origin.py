"""Where a run's weights come from, beside its songs: what a licence may depend on, kept over all resumptions."""

from __future__ import annotations

from pathlib import Path

from streamsep.errors import StreamsepError
from streamsep.models.checkpoint import read_record

Origin = dict[str, str]

_STARTS = {"init": "--init", "init_matching": "--init-matching"}
_NAMES = ("data", *_STARTS, "teacher", "voice", "instruments")


def origin_of(out: Path) -> Origin:
    """What the run in `out` tells of its origin; empty where there is none to go on with, or it tells nothing.

    Raises:
        StreamsepError: its record cannot be read.
    """
    if not ((out / "state.pt").exists() and (out / "last.json").exists()):
        return {}
    training = read_record(out / "last.json").get("training")
    return {name: str(training[name]) for name in _NAMES if name in training} if isinstance(training, dict) else {}


def check_start(out: Path, before: Origin, given: Origin) -> None:
    """Refuse another start than that of the run that goes on: its weights would not be used.

    Raises:
        StreamsepError: the run in `out` began otherwise.
    """
    for name, flag in _STARTS.items() if before else ():
        if name in given and given[name] != before.get(name):
            began = f"from {before[name]}" if name in before else f"without {flag}"
            raise StreamsepError(f"the run in {out} began {began}; leave {flag} out, or start anew with --restart")


def together(before: Origin, given: Origin) -> Origin:
    """The origin of weights that learnt from both: each name once, in the order of their coming."""
    named = {name: [each[name] for each in (before, given) if name in each] for name in _NAMES}
    return {name: ", ".join(dict.fromkeys(", ".join(texts).split(", "))) for name, texts in named.items() if texts}
