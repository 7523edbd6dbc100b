"""The parts of a latency side by side: frames, milliseconds, and what each of them is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamsep.engine.backends.base import AudioBackend
    from streamsep.engine.backends.loopback import RoundTrip
    from streamsep.engine.host import SeparatorInfo
    from streamsep.engine.timing import LatencyBudget


@dataclass(frozen=True)
class Finding:
    """A latency, declared, and perhaps measured.

    Attributes:
        model: its name or path.
        info: of the model.
        device: whose latency is told.
        queue: blocks granted to the model.
        budget: the declared sum.
        trip: what came back through a cable: from one device alone, or, with separate devices, all the way; or None.
    """

    model: str
    info: SeparatorInfo
    device: AudioBackend
    queue: int
    budget: LatencyBudget
    trip: RoundTrip | None = None

    @property
    def measured(self) -> tuple[float, float] | None:
        """(device, sum) in frames at the model's rate, as measured."""
        if self.trip is None:
            return None
        frames = self.trip.frames * self.budget.sample_rate / self.device.sample_rate
        rest = self.budget.total - self.budget.device
        return (frames - rest, frames) if self.device.separate else (frames, frames + rest)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain: dict[str, Any] = {
            "model": self.model,
            "sample_rate": self.info.sample_rate,
            "hop": self.info.hop,
            "device_rate": self.device.sample_rate,
            "block": self.device.block,
            "queue": self.queue,
            "budget": self.budget.to_dict(),
            "step_ms": self._steps(),
            "measured": None,
        }
        if self.trip is not None and self.measured is not None:
            device, total = (self.budget.milliseconds(frames) for frames in self.measured)
            plain["measured"] = {"device_ms": device, "total_ms": total, "trip": asdict(self.trip)}
        return plain

    def to_text(self) -> str:
        """A table."""
        block = f"blocks of {self.device.block}" if self.device.block else "blocks of many sizes"
        lines = [f"{self.model} on a device of {self.device.sample_rate} Hz, {block}", ""]
        lines += [f"{'':<12}{'frames':>8}{'ms':>9}"]
        for name, frames in self.budget.rows():
            line = f"{name:<12}{round(frames, 1):>8.7g}{self.budget.milliseconds(frames):>9.2f}   {self._meaning(name)}"
            lines += ["", line.rstrip()] if name == "total" else [line]
        return "\n".join([*lines, "", *self._notes()])

    def _meaning(self, name: str) -> str:
        rates = f"{self.device.sample_rate} to {self.info.sample_rate} Hz and back"
        meanings = {
            "model": "what its output lags behind its input",
            "blocking": f"hops of {self.info.hop} from blocks of another size",
            "queue": f"time for the model: {self.queue} {'block' if self.queue == 1 else 'blocks'}",
            "fade": "sound held back, to fade out with when the model is late",
            "resampling": rates if self.device.sample_rate != self.info.sample_rate else "none: the rates are the same",
            "device": "what it says of itself, the block of the input included",
        }
        if name == "resampling" and self.device.separate:
            return "between the clocks of two devices"
        return meanings.get(name, "")

    def _notes(self) -> Iterator[str]:
        frames = self.budget.algorithmic
        shown = f"{frames} frames, {self.budget.milliseconds(frames):.2f} ms"
        yield f"algorithmic latency (model and hop; the hop is collected by device and blocking): {shown}"
        if steps := self._steps():
            hop = self.budget.milliseconds(self.info.hop)
            yield (
                f"steps of the model here ({self.info.executor}): "
                f"p50 {steps['p50']:.2f}, p99 {steps['p99']:.2f} of {hop:.2f} ms"
            )
        if self.trip is not None and self.measured is not None:
            device, total = (self.budget.milliseconds(frames) for frames in self.measured)
            came = f"{self.trip.found} of {self.trip.repeats} bursts came back, within {self.trip.spread:.2f} frames"
            yield f"measured: device {device:.2f} ms, sum {total:.2f} ms ({came})"

    def _steps(self) -> dict[str, float] | None:
        import numpy as np

        if not self.info.step_times:
            return None
        p50, p99 = (1000 * float(value) for value in np.percentile(self.info.step_times, (50, 99), method="higher"))
        return {"p50": p50, "p99": p99}
