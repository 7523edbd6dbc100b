"""Where inference runs: what a stream asks of a thread or a process that holds the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from streamsep.engine.doorbell import Doorbell
from streamsep.engine.link import Link, LinkShape
from streamsep.engine.mixer import Routing
from streamsep.engine.timing import LatencyBudget
from streamsep.errors import StreamsepError


@dataclass(frozen=True)
class SeparatorInfo:
    """What a stream knows of the model without having it.

    Attributes:
        hop: frames of a step.
        latency: lag of the output behind the input, in frames.
        sample_rate: in Hz.
        sources: names of the stems.
        max_chunk: most hops of a step.
        executor: what runs the steps.
        step_times: measured seconds a hop, warm; empty where nobody asked for a measurement.
    """

    hop: int
    latency: int
    sample_rate: int
    sources: tuple[str, ...]
    max_chunk: int
    executor: str
    step_times: tuple[float, ...] = ()


@dataclass(frozen=True)
class Job:
    """What a worker is to do on the rings of a link.

    Attributes:
        budget: the delays of the stream.
        catch_up: frames that a result may be too late before the backlog is skipped instead of worked off.
        output: what the mixer makes of the stems.
        ramp: frames that a change of gain takes.
        warm_up: steps on noise before the first real one.
    """

    budget: LatencyBudget
    catch_up: int
    output: Routing = "mix"
    ramp: int = 441
    warm_up: int = 5


class Host(ABC):
    """Holds a model and works for one stream at a time.

    Attributes:
        info: of the model.
        bell: wakes the worker.
        error: what killed the worker, in a sentence, or None.
    """

    info: SeparatorInfo
    bell: Doorbell
    error: str | None
    _link: Link  # made last

    def check_last(self, link: Link) -> None:
        """Raise StreamsepError where another link has taken the place of `link`: the worker would not hear it."""
        if getattr(self, "_link", link) is not link:
            raise StreamsepError("another Stream has been made on this stream's host since; make this one anew")

    @abstractmethod
    def link(self, shape: LinkShape) -> Link:
        """Zeroed rings and rows in memory that the worker sees as well; they take the place of those made before.

        Raises:
            StreamsepError: a worker is still at work on those.
        """

    @abstractmethod
    def begin(self, job: Job, inline: bool = False) -> None:
        """Warm up, then work on the link made last; returns once warm, or with `error` set.

        Args:
            job: what to do.
            inline: work only when `pump` is called.
        """

    @abstractmethod
    def pump(self) -> None:
        """Return once every step whose input has arrived is done, or the worker is dead."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether a worker is at work."""

    @abstractmethod
    def revive(self) -> bool:
        """Start a dead or stuck worker anew on the same rings; returns at once, and whether it was started.

        If so `error` is None from then on, until `alive` tells that it works or `error` why it does not.
        """

    @abstractmethod
    def end(self) -> None:
        """End the work, not the model: another job may begin. May be called again."""

    @abstractmethod
    def close(self) -> None:
        """End everything, and give back what the system lent. May be called again."""


def check_idle(busy: bool) -> None:
    """Raise StreamsepError where a host that is `busy` is wanted for another stream."""
    if busy:
        raise StreamsepError("this host works for a stream that has not ended; stop that first, or make another host")
