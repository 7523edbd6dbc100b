"""What is compared: systems, each a way to get stems, written as a short text.

stream:MODEL             a causal model, chunk by chunk, as it runs live
stream:MODEL@100ms,0.5s  the same with so much of the future in view, if its weights learnt to wait
pass:MODEL               the same model over the whole signal at once, which must give the same
sliding:MODEL@500ms,1s   an offline model on a moving window, a system for each look-ahead
sliding:MODEL@1s/500ms   the same with a hop
offline:MODEL            an offline model that hears the whole song
MODEL                    a model by itself: streamed if it can stream, else offline
stems:DIR                somebody else's stems: DIR/SONG/drums.wav, or DIR/drums.wav for a single song
irm ibm psm magnitude mwf    oracle masks; irm:2048/512 for another STFT than 4096/1024
gain                     the mixture times the best constant gain for each stem
mixture silence          the mixture or nothing in place of every stem

NAME=...                 any of them under a name of your own
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from streamsep.errors import StreamsepError

ORACLES = ("irm", "ibm", "psm", "magnitude", "mwf")
BASELINES = ("gain", "mixture", "silence")
MODEL_WAYS = ("stream", "pass", "sliding", "offline")


@dataclass(frozen=True)
class System:
    """One way to get stems.

    Attributes:
        name: shown, and unique in a comparison.
        way: stream, pass, sliding, offline, stems, an oracle, gain, mixture or silence; `model` until it is looked at.
        what: model or folder.
        lookahead: seconds, of stream and sliding; hop: of sliding; without, as `load_separator` chooses it.
        stft: size and hop, of oracles.
        chunk: hops a step, of stream and sliding.
        device: as torch names it.
    """

    name: str
    way: str
    what: str = ""
    lookahead: float | None = None
    hop: float | None = None
    stft: tuple[int, int] | None = None
    chunk: int = 1
    device: str = "cpu"

    @property
    def needs_truth(self) -> bool:
        """Whether it is made from the true stems."""
        return self.way in (*ORACLES, "gain")

    def settings(self) -> dict[str, Any]:
        """Everything but the name that decides what comes out, the state of a model's file included."""
        facts = asdict(replace(self, name=""))
        if self.way in MODEL_WAYS:
            from streamsep.models.registry import find_weights

            files = _model_files(find_weights(self.what) or Path(self.what))
            facts["files"] = [[file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
        return facts


def _model_files(path: Path) -> list[Path]:
    """All that a model is read from, and of a bag all that lies beside it, where its members are."""
    if path.is_dir():
        return sorted(path.rglob("*"))
    if path.suffix in (".yaml", ".yml"):
        return [path, *(file for file in sorted(path.parent.iterdir()) if file.suffix in (".th", ".safetensors"))]
    return [path, path.with_suffix(".safetensors"), path.with_suffix(".json")]


def parse_systems(texts: Iterable[str], chunk: int = 1, device: str = "cpu") -> list[System]:
    """The systems of several texts, in their order and under names of their own.

    Raises:
        StreamsepError: a text that is none of the above.
    """
    systems: list[System] = []
    for text in texts:
        head, equals, rest = text.partition("=")
        named = bool(equals) and not any(sign in head for sign in ":/\\")
        found = _parse(rest if named else text)
        if named:
            several = len(found) > 1
            found = [replace(s, name=f"{head} {_seconds(s.lookahead)}" if several else head) for s in found]
        systems += [replace(system, chunk=chunk, device=device) for system in found]
    names = distinct_names(system.name for system in systems)
    return [replace(system, name=name) for system, name in zip(systems, names, strict=True)]


def _parse(text: str) -> list[System]:
    way, _, what = text.strip().partition(":")
    if way in BASELINES and not what:
        return [System(way, way)]
    if way in ORACLES:
        size, hop = _stft(what, text)
        return [System(way if not what else f"{way} {size}/{hop}", way, stft=(size, hop))]
    model, _, times = what.rpartition("@")
    if way == "sliding" or (way == "stream" and model and not {*times} & {"/", "\\"}):
        if not model:
            raise StreamsepError(f"{text!r} has no look-ahead; write sliding:MODEL@500ms or several after commas")
        looks = [_look(each, text) for each in times.split(",")]
        return [System(f"{way} {short_name(model)} {_seconds(look)}", way, model, look, hop) for look, hop in looks]
    if way in ("stream", "pass", "offline", "stems") and what:
        return [System(f"{way} {short_name(what)}", way, what)]
    if not text.strip() or (what and way in (*MODEL_WAYS, "stems", *BASELINES)) or way in (*MODEL_WAYS, "stems"):
        raise StreamsepError(f"{text!r} is no system; examples are stream:live-23-small, irm and stems:FOLDER")
    return [System(short_name(text), "model", text)]


def _stft(what: str, text: str) -> tuple[int, int]:
    size, slash, hop = what.partition("/")
    try:
        sizes = (int(size or 4096), int(hop) if slash else int(size or 4096) // 4)
    except ValueError:
        sizes = (0, 0)
    if sizes[0] < 16 or sizes[0] % 2 or not 0 < sizes[1] <= sizes[0] // 2:
        raise StreamsepError(
            f"{text!r} has no usable STFT; write irm:4096/1024, an even size and a hop of half or less"
        )
    return sizes


def _look(each: str, text: str) -> tuple[float, float | None]:
    lookahead, slash, hop = each.partition("/")
    return _time(lookahead, text), _time(hop, text) if slash else None


def _time(each: str, text: str) -> float:
    number, scale = each.strip().lower(), 1.0
    if number.endswith("ms"):
        number, scale = number[:-2], 1e-3
    elif number.endswith("s"):
        number = number[:-1]
    try:
        seconds = scale * float(number)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise StreamsepError(f"{each!r} in {text!r} is not a time such as 500ms or 1s")
    return seconds


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:g} ms" if value < 1 else f"{value:g} s"


def short_name(path: str) -> str:
    """A model's or folder's name; with its folder, for a checkpoint called `last` says little alone."""
    parts = Path(path)
    if len(parts.parts) < 2:
        return parts.name or path
    return str(
        Path(parts.parent.name) / (parts.stem if parts.suffix in (".safetensors", ".th", ".yaml") else parts.name)
    )


def distinct_names(names: Iterable[str]) -> list[str]:
    """The names in their order, those that came before with a number behind them."""
    taken: dict[str, None] = {}
    for name in names:
        new, count = name, 1
        while new in taken:  # a name may itself end in a number
            count += 1
            new = f"{name} ({count})"
        taken[new] = None
    return list(taken)


@dataclass(frozen=True)
class Look:
    """What is known of a system before it runs.

    Attributes:
        system: with `model` resolved to stream or offline.
        latency: declared algorithmic latency in samples; None of one that needs the whole song or no model.
        hop: of a stream, in samples.
        sources: the model's stems; empty without a model.
        rate: the model's; None without a model.
        moves: how a sliding window moves, in samples; None of others.
    """

    system: System
    latency: int | None = None
    hop: int | None = None
    sources: tuple[str, ...] = ()
    rate: int | None = None
    moves: dict[str, int] | None = None


def look_at(system: System) -> Look:
    """Load a system's model to see that it is there, and what it is.

    Raises:
        StreamsepError: no such model or folder, or a model of another kind.
    """
    if system.way == "stems" and not Path(system.what).is_dir():
        raise StreamsepError(f"there is no folder {system.what}; correct the system {system.name!r}")
    if system.way not in (*MODEL_WAYS, "model"):
        return Look(system)
    model = load(system)
    streams = hasattr(model, "step")
    if system.way == "model":
        system = replace(system, way="stream" if streams else "offline")
    facts = tuple(model.sources), int(model.sample_rate)
    if system.way not in ("stream", "sliding"):
        return Look(system, None, None, *facts)
    moves = asdict(model.moves) if system.way == "sliding" else None
    return Look(system, int(model.latency + model.hop), int(model.hop), *facts, moves)


def load(system: System) -> Any:
    """The model of a system, ready to run.

    Raises:
        StreamsepError: it cannot be loaded, or is of another kind than the system's way needs.
    """
    from streamsep.models import registry
    from streamsep.models.load import as_separator
    from streamsep.models.separator import Separator

    model: Any = registry.load_model(system.what, device=system.device)
    offline = system.way in ("offline", "sliding")
    if system.way != "model" and isinstance(model, Separator) == offline:
        kind, flag = ("a streaming", "offline") if offline else ("an offline", "model")
        raise StreamsepError(f"{system.what} is {kind} model; choose another --{flag}")
    if system.lookahead is None:
        return model
    return as_separator(model, system.what, lookahead=system.lookahead, hop=system.hop)


def common_ground(looks: Sequence[Look], default: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """(stems, rate) on which the systems are compared: those of the first model.

    A later model may have more stems; they count as part of `other`.

    Raises:
        StreamsepError: models that do not agree.
    """
    models = [look for look in looks if look.rate is not None]
    if not models:
        return default, 44100
    first = models[0]
    for look in models[1:]:
        if look.rate != first.rate or not set(first.sources) <= set(look.sources):
            raise StreamsepError(
                f"{look.system.what} gives {', '.join(look.sources)} at {look.rate} Hz and {first.system.what} "
                f"{', '.join(first.sources)} at {first.rate} Hz; choose models that agree"
            )
    return first.sources, int(first.rate or 44100)


def fingerprint(facts: Any) -> str:
    """A short text that changes when the facts do."""
    import hashlib

    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
