"""What a run tells: a progress line, a CSV row beside it, and a CSV row for every validation."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamsep.files import staged
from streamsep.training.validation import Score

_CURE = "choose another --out"


class Report:
    """Averages since the last line, written every `seconds`; in a terminal the line is overwritten in place."""

    def __init__(self, folder: Path, seconds: float | None = None, quiet: bool = False) -> None:
        self._folder, self._quiet = folder, quiet
        self._live = sys.stderr.isatty()
        self._seconds = seconds if seconds is not None else (2.0 if self._live else 30.0)
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, float] = {}
        self._count, self._audio, self._since = 0, 0.0, time.monotonic()

    def resume_at(self, step: int) -> None:
        """Forget the rows of later steps, which were made after the state was saved and are made again."""
        for name in ("log.csv", "validation.csv"):
            _keep_until(self._folder / name, step)

    def resume_clock(self) -> None:
        """Leave out of the speed what was not training (a validation)."""
        self._reset()

    def step(self, step: int, elapsed: float, lr: float, audio: float, values: Mapping[str, float]) -> None:
        """Count one step that trained on `audio` seconds."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count, self._audio = self._count + 1, self._audio + audio
        if time.monotonic() - self._since >= self._seconds:
            self._write(step, elapsed, lr)

    def _write(self, step: int, elapsed: float, lr: float) -> None:
        seconds = max(time.monotonic() - self._since, 1e-6)
        means = {name: total / self._count for name, total in self._sums.items()}
        speed, pace = self._audio / seconds, self._count / seconds
        self._say(
            f"step {step}  {elapsed / 60:.1f} min  loss {means['loss']:.4f}  {means['snr']:+.2f} dB"
            f"  lr {lr:.2e}  {speed:.2f} s audio/s  {pace:.2f} steps/s"
        )
        row = {"step": step, "elapsed": elapsed, "lr": lr, **means, "audio_per_second": speed, "steps_per_second": pace}
        append_row(self._folder / "log.csv", row)
        self._reset()

    def score(self, step: int, elapsed: float, score: Score, best: bool) -> None:
        """A validation: SDR of each stem, in brackets how far above the best constant gain."""
        stems = "  ".join(f"{stem} {value:+.2f} ({score.improvement[stem]:+.2f})" for stem, value in score.sdr.items())
        self._say(f"validation at step {step}: {stems}  mean {score.mean:+.2f} dB{'  best' if best else ''}", keep=True)
        columns = {f"{stem}_sdr": value for stem, value in score.sdr.items()}
        columns |= {f"{stem}_improvement": value for stem, value in score.improvement.items()}
        append_row(self._folder / "validation.csv", {"step": step, "elapsed": elapsed, **columns, "mean": score.mean})

    def say(self, text: str) -> None:
        """A line that stays."""
        self._say(text, keep=True)

    def _say(self, text: str, keep: bool = False) -> None:
        if not self._quiet:
            end = "\n" if keep or not self._live else ""
            print(f"\r{text:<110}" if self._live else text, end=end, file=sys.stderr, flush=True)


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Add a row to a CSV file; the first one brings the header, and one of another loss adds its columns to it."""
    names = _header(path)
    if added := [name for name in row if name not in names]:
        names += added
        _write_again(path, names)
    with path.open("a", newline="", encoding="utf-8") as file:
        written = {name: value if isinstance(value, int) else f"{value:.6g}" for name, value in row.items()}
        csv.DictWriter(file, names).writerow(written)


def _header(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _write_again(path: Path, names: Sequence[str]) -> None:
    """The same rows under more columns, the new ones empty."""
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    with staged([path], _CURE) as (temporary,), temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _keep_until(path: Path, step: int) -> None:
    """Drop the rows of later steps, and one that was cut off as it was written."""
    if not path.exists():
        return
    header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    kept = [row for row in rows if row.endswith("\n") and float(row.split(",", 1)[0]) <= step]
    with staged([path], _CURE) as (temporary,):
        temporary.write_text(header + "".join(kept), encoding="utf-8")
