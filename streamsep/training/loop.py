"""The training loop. It knows of the model only `hop`, `latency`, `sources` and `forward`; resumable at any step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streamsep.config import to_dict
from streamsep.errors import StreamsepError
from streamsep.training.batches import Batch, BatchMaker
from streamsep.training.clips import RATE
from streamsep.training.config import TrainConfig
from streamsep.training.data import Library
from streamsep.training.losses import separation_loss
from streamsep.training.optimiser import Average, adamw, learning_rate
from streamsep.training.report import Report
from streamsep.training.state import Progress, load_state, save_state
from streamsep.training.validation import Score, validate

Export = Callable[[nn.Module, Path, dict[str, Any]], None]


def train(
    model: nn.Module,
    library: Library,
    config: TrainConfig,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    max_minutes: float | None = None,
    export: Export | None = None,
    report: Report | None = None,
) -> Progress:
    """Train until the schedule ends, `max_minutes` have passed or the process is asked to stop.

    Writes to `out`: `state.pt` (for resuming), `last` and `best` weights through `export`, `log.csv`, `validation.csv`.

    Args:
        model: a causal separator, `mix [B, 2, T] -> sources [B, S, 2, T]`, late by `model.latency`.
        library: songs and extra recordings.
        config: of the run.
        out: folder of the run.
        device: where the model trains.
        resume: go on from `out/state.pt`, if there is one.
        max_minutes: end this call after so long; the schedule is not touched.
        export: `(averaged model, path, record)`, by default nothing is exported.
        report: where progress is told.

    Raises:
        StreamsepError: a state that cannot be resumed from.
    """
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(model, library, config, out, device=device, export=export, report=report or Report(out))
    state = out / "state.pt"
    if resume and state.exists():
        trainer.progress = load_state(state, trainer.model, trainer.average, trainer.optimiser)
    with _stop_signals() as stop:
        trainer.run(stop, max_minutes)
    return trainer.progress


class Trainer:
    """One run: the model with its optimiser, average and counters."""

    def __init__(
        self,
        model: nn.Module,
        library: Library,
        config: TrainConfig,
        out: Path,
        *,
        device: torch.device | str,
        export: Export | None,
        report: Report,
    ) -> None:
        self.model, self.config, self.out, self.device = model.to(device).train(), config, out, torch.device(device)
        self.library, self.report, self._export = library, report, export
        self.batches = BatchMaker(library, config.batch, model.sources, int(model.hop))  # type: ignore[arg-type]
        self.latency = int(model.latency)  # type: ignore[arg-type]
        self.optimiser = adamw(self.model, config.optimiser)
        self.average = Average(self.model, config.optimiser.ema)
        self.progress = Progress()
        self.score: Score | None = None

    def run(self, stop: threading.Event, max_minutes: float | None = None) -> None:
        """Steps with saves and validations between them; the state is saved at the end, however it comes."""
        loop, began = self.config.loop, time.monotonic()
        validated, saved = self.progress.elapsed, self.progress.elapsed
        limit = float("inf") if max_minutes is None else 60 * max_minutes
        try:
            for batch in self._batches():
                if stop.is_set() or self.done() or time.monotonic() - began >= limit:
                    break
                self._timed(lambda batch=batch: self.step(batch))  # type: ignore[misc]
                if self.progress.elapsed - validated >= 60 * loop.validate_minutes:
                    self._timed(self.validate)
                    validated = self.progress.elapsed
                if self.progress.elapsed - saved >= 60 * loop.save_minutes:
                    self.save()
                    saved = self.progress.elapsed
            if self.done() and self.progress.step:
                self.validate()
        finally:
            self.save()

    def done(self) -> bool:
        """Whether the schedule has come to its end."""
        return self._part() >= 1.0

    def _part(self) -> float:
        loop = self.config.loop
        if loop.steps is not None:
            return self.progress.step / loop.steps
        assert loop.hours is not None
        return self.progress.elapsed / (3600 * loop.hours)

    def _timed(self, work: Callable[[], None]) -> None:
        began = time.monotonic()
        work()
        self.progress.elapsed += time.monotonic() - began

    def _batches(self) -> Iterator[Batch]:
        """Batches from the current step on, drawn one ahead in a thread where asked."""
        step = self.progress.step
        if not self.config.loop.prefetch:
            while True:
                yield self._timed_batch(step)
                step += 1
        with ThreadPoolExecutor(1) as pool:
            coming: Future[Batch] = pool.submit(self.batches, step)
            while True:
                batch, step = coming.result(), step + 1
                coming = pool.submit(self.batches, step)
                yield batch

    def _timed_batch(self, step: int) -> Batch:
        began = time.monotonic()
        batch = self.batches(step)
        self.progress.elapsed += time.monotonic() - began
        return batch

    def step(self, batch: Batch) -> None:
        """One update; a step whose gradient is not finite is left out and counted."""
        settings, progress = self.config.optimiser, self.progress
        lr = learning_rate(progress.step, self._part(), settings)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.loop.bf16):
            estimate = self.model(batch.mix)
        loss, parts = separation_loss(estimate.float(), batch, self.latency, self.config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
            self.average.update(self.model)
            values = {name: float(value) for name, value in {"loss": loss.detach(), **parts, "norm": norm}.items()}
            audio = batch.mix.shape[0] * batch.mix.shape[-1] / RATE
            self.report.step(progress.step + 1, progress.elapsed, lr, audio, values)
        else:
            progress.skipped += 1
        progress.step += 1

    def validate(self) -> None:
        """Score the averaged weights on the held-out songs, keep the best."""
        loop = self.config.loop
        score = validate(
            self.average.model,
            self.library.validation,
            excerpts=loop.excerpts,
            seconds=loop.excerpt_seconds,
            warm=self.config.loss.warm,
            device=self.device,
        )
        self.score, best = score, score.mean > self.progress.best
        if score.sdr:
            self.report.score(self.progress.step, self.progress.elapsed, score, best)
        if best:
            self.progress.best = score.mean
            self._export_to("best")
        self.report.resume_clock()

    def save(self) -> None:
        """Write the state and the last averaged weights."""
        save_state(self.out / "state.pt", self.model, self.average, self.optimiser, self.progress)
        self._export_to("last")

    def _export_to(self, name: str) -> None:
        if self._export is not None and self.average.updates:
            self._export(self.average.model, self.out / f"{name}.safetensors", self.record())

    def record(self) -> dict[str, Any]:
        """What the checkpoint tells of its training."""
        progress = self.progress
        training = {
            "config": to_dict(self.config),
            "songs": [song.name for song in self.library.songs],
            "extra_minutes": {
                stem: round(sum(clip.length for clip in clips) / RATE / 60, 1)
                for stem, clips in self.library.extra.items()
            },
            "validation_songs": [song.name for song in self.library.validation],
            "steps": progress.step,
            "hours": round(progress.elapsed / 3600, 3),
            "audio_hours": round(progress.step * self.config.batch.size * self.batches.frames / RATE / 3600, 3),
            "validation": self.score.rounded() if self.score else None,
        }
        return {"training": training, "licence": self.config.licence}


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM ask for an end after the current step; outside the main thread they are left alone."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {name: signal.signal(name, lambda *_: stop.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def check_fresh(out: Path, resume: bool, restart: bool) -> None:
    """Refuse to overwrite a run by accident; with `restart` take its old state away.

    Raises:
        StreamsepError: `out` holds a run and neither was asked for.
    """
    state = out / "state.pt"
    if not state.exists() or resume:
        return
    if not restart:
        raise StreamsepError(f"{out} already holds a run; go on with --resume or start anew with --restart")
    for name in ("state.pt", "log.csv", "validation.csv"):
        (out / name).unlink(missing_ok=True)
