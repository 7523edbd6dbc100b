"""The training loop. It knows of a model `sources` and `forward`, and of a causal one `hop` and `latency`.

A step is a function of the weights, the seed and its own number: a run resumes at any step, on any number of processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from streamsep.config import to_dict
from streamsep.errors import StreamsepError
from streamsep.training.batch_effects import BatchEffects
from streamsep.training.batches import Batch, BatchMaker, varied
from streamsep.training.clips import RATE
from streamsep.training.config import TrainConfig
from streamsep.training.data import Library
from streamsep.training.objective import Objective, Separate, timing
from streamsep.training.optimiser import Average, learning_rate, optimiser_of
from streamsep.training.parallel import World
from streamsep.training.report import Report
from streamsep.training.state import Progress, load_state, save_state
from streamsep.training.stopping import stop_signals
from streamsep.training.validation import validate

_PATIENCE = 100  # steps without a finite gradient

Export = Callable[[nn.Module, Path, dict[str, Any]], None]
_T = TypeVar("_T")


def train(
    model: nn.Module,
    library: Library,
    config: TrainConfig,
    out: Path,
    *,
    world: World = World(),  # noqa: B008 (frozen)
    resume: bool = False,
    max_minutes: float | None = None,
    export: Export | None = None,
    report: Report | None = None,
    teacher: Separate | None = None,
) -> Progress:
    """Train until the schedule ends, `max_minutes` have passed or the process is asked to stop.

    Writes to `out`: `state.pt` (for resuming), `last` and `best` weights through `export`, `log.csv`, `validation.csv`.

    Args:
        model: a separator, `mix [B, 2, T] -> sources [B, S, 2, T]`, late by `model.latency` if it is causal.
        library: songs and extra recordings.
        config: of the run.
        out: folder of the run.
        world: the processes that train together, and where this one computes.
        resume: go on from `out/state.pt`, if there is one.
        max_minutes: end this call after so long; the schedule is not touched.
        export: `(averaged model, path, record)`, by default nothing is exported.
        report: where progress is told.
        teacher: another separator of the same sources, not late, for the loss term of that name.

    Raises:
        StreamsepError: a state that cannot be resumed from, a warm state for an offline model, pieces too short to
            score, or a teacher without its loss term and the other way round.
    """
    out.mkdir(parents=True, exist_ok=True)
    report = report or Report(out, config.loop.log_seconds, quiet=not world.first)
    trainer = Trainer(model, library, config, out, world=world, export=export, report=report, teacher=teacher)
    if resume:
        trainer.resume()
    with stop_signals() as stop:
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
        world: World,
        export: Export | None,
        report: Report,
        teacher: Separate | None = None,
    ) -> None:
        self.model, self.config, self.out, self.world = model.to(world.device).train(), config, out, world
        self.library, self.report, self._export = library, report, export
        if (teacher is not None) != (config.loss.teacher > 0):
            raise StreamsepError("a teacher needs both `loss: teacher` (its weight) in the configuration and --teacher")
        objective = Objective(self.model, config.loss, config.lookaheads, bf16=config.loop.bf16, teacher=teacher)
        self.batches = BatchMaker(library, config.batch, model.sources, objective.hop, rank=world.rank)  # type: ignore[arg-type]
        self._check_lengths(max(timing(model)[1] for model in objective.models))
        self.objective, self._draw = world.wrap(objective), objective.draw
        self.effects = None if config.effects is None else BatchEffects(config.effects, self.batches.sources)
        self.optimiser = optimiser_of(self.model, config.optimiser)
        self.average = Average(self.model, config.optimiser.ema)
        if config.loop.compile:
            objective.compile_networks()
        self.progress, self._in_a_row = Progress(), 0

    def _check_lengths(self, latency: int) -> None:
        """Whether pieces and excerpts are longer than what is not scored of them, and hold the longest spectrum."""
        config = self.config
        lengths = {"batch: seconds": config.batch.seconds}
        if self.library.validation:
            lengths["loop: excerpt_seconds"] = config.loop.excerpt_seconds
        for name, seconds in lengths.items():
            if seconds <= config.loss.warm + latency / RATE:
                raise StreamsepError(
                    f"{name} of {seconds:g} s leaves nothing to score after a start of {config.loss.warm:g} s and a "
                    f"latency of {latency / RATE:.2g} s; lengthen it"
                )
        scored = self.batches.frames - round(config.loss.warm * RATE) - latency
        if config.loss.longest > scored:
            raise StreamsepError(
                f"batch: seconds of {config.batch.seconds:g} s leaves {scored} samples to score, fewer than the "
                f"{config.loss.longest} of the longest of `loss: ffts`; lengthen it, or leave that one out"
            )

    def resume(self) -> None:
        """Go on from the saved state, if there is one."""
        state = self.out / "state.pt"
        if state.exists():
            self.progress = load_state(state, self.model, self.average, self.optimiser)
        if self.world.first:  # also of a run that was killed before its first save
            self.report.resume_at(self.progress.step)

    def run(self, stop: threading.Event, max_minutes: float | None = None) -> None:
        """Steps, and the state saved at the end, however it comes; a run that fails at once leaves nothing."""
        first = self.progress.step
        try:
            self._steps(stop, float("inf") if max_minutes is None else 60 * max_minutes)
            if self.done() and self.progress.step > first:
                self.validate()
        except BaseException:
            if self.progress.step > first:
                self.save()
            raise
        self.save()

    def _steps(self, stop: threading.Event, limit: float) -> None:
        """Steps with saves and validations between them, for `limit` seconds at most."""
        loop, began = self.config.loop, time.monotonic()
        saved = self.progress.elapsed
        for batch in self._batches():
            if not self._go_on(not stop.is_set() and time.monotonic() - began < limit):
                break
            self._timed(lambda batch=batch: self.step(batch))  # type: ignore[misc]
            if self.progress.elapsed - self.progress.validated >= 60 * loop.validate_minutes:
                self._timed(self.validate)
                self.progress.validated = self.progress.elapsed
            if self.progress.elapsed - saved >= 60 * loop.save_minutes:
                self.save()
                saved = self.progress.elapsed

    def _go_on(self, wanted: bool) -> bool:
        """Whether to make another step; the first process's clock is everybody's."""
        self.progress.elapsed, wanted_there = self.world.agree([self.progress.elapsed, wanted])
        return bool(wanted_there) and not self.done()

    def done(self) -> bool:
        """Whether the schedule has come to its end."""
        return self._part() >= 1.0

    def _part(self) -> float:
        return self.config.loop.part(self.progress.step, self.progress.elapsed / 3600)

    def _timed(self, work: Callable[[], _T]) -> _T:
        began = time.monotonic()
        result = work()
        self.progress.elapsed += time.monotonic() - began
        return result

    def _batches(self) -> Iterator[Batch]:
        """Batches from the current step on, drawn one ahead in a thread where asked."""
        step = self.progress.step
        if not self.config.loop.prefetch:
            while True:
                yield self._timed(partial(self.batches, step))
                step += 1
        with ThreadPoolExecutor(1) as pool:
            coming: Future[Batch] = pool.submit(self.batches, step)
            while True:
                batch, step = self._timed(coming.result), step + 1
                coming = pool.submit(self.batches, step)
                yield batch

    def _seeded(self) -> int:
        """Seed what the step draws. Its look-ahead all processes draw alike: none waits for one that looks farther."""
        seed, step = self.config.batch.seed, self.progress.step
        torch.manual_seed(_seed(seed, step, 0))
        which = self._draw()
        if not self.world.first:
            torch.manual_seed(_seed(seed, step, self.world.rank))
        return which

    def step(self, batch: Batch) -> None:
        """One update; a step whose gradient is not finite is left out and counted."""
        settings, progress = self.config.optimiser, self.progress
        lr = learning_rate(progress.step, self._part(), settings)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        which = self._seeded()
        batch = batch.to(self.world.device)
        if self.effects is not None:
            batch = varied(batch, self.effects, progress.step, self.batches.rows)
        loss, parts = self.objective(batch, which)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        values = {name: float(value) for name, value in {"loss": loss.detach(), **parts, "norm": norm}.items()}
        values = self.world.mean(values)
        progress.step += 1
        if not bool(torch.isfinite(norm)):
            progress.skipped += 1
            self._in_a_row += 1
            if self._in_a_row >= _PATIENCE:
                raise StreamsepError(
                    f"{_PATIENCE} steps in a row had no finite gradient; lower `lr`, or look into the songs"
                )
            return
        self._in_a_row = 0
        self.optimiser.step()
        self.average.update(self.model)
        if self.world.first:
            audio = self.world.size * batch.mix.shape[0] * batch.mix.shape[-1] / RATE
            self.report.step(progress.step, progress.elapsed, lr, audio, values)

    def validate(self) -> None:
        """Score the averaged weights on the held-out songs, keep the best."""
        if not self.world.first:
            return
        loop = self.config.loop
        score = validate(
            self.average.model,
            self.library.validation,
            excerpts=loop.excerpts,
            seconds=loop.excerpt_seconds,
            warm=self.config.loss.warm,
            backwards=self.config.batch.backwards,
            device=self.world.device,
        )
        self.progress.score, best = score.rounded(), score.mean > self.progress.best
        if score.sdr:
            self.report.score(self.progress.step, self.progress.elapsed, score, best)
        if best:
            self.progress.best = score.mean
            self._export_to("best")
        self.report.resume_clock()

    def save(self) -> None:
        """Write the state and the last averaged weights."""
        if self.world.first:
            size = self.config.loop.part_megabytes
            save_state(
                self.out / "state.pt", self.model, self.average, self.optimiser, self.progress, part_megabytes=size
            )
            self._export_to("last")

    def _export_to(self, name: str) -> None:
        if self._export is not None and self.average.updates:
            self._export(self.average.model, self.out / f"{name}.safetensors", self.record())

    def record(self) -> dict[str, Any]:
        """What the checkpoint tells of its training."""
        progress, mixtures = self.progress, self.world.size * self.config.batch.size
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
            "audio_hours": round(progress.step * mixtures * self.batches.frames / RATE / 3600, 3),
            "validation": progress.score,
        }
        return {"training": training, "licence": self.config.licence}


def _seed(seed: int, step: int, rank: int) -> int:
    """What a step draws (dropout) depends on its number alone, and differs between processes."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)
