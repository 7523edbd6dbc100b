"""Which stem leaves by which channels of the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamsep.engine.mixer import Routing
from streamsep.errors import StreamsepError

MIX = "mix"

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Route:
    """A stem, or "mix" (the sum of what the engine plays), to channels of the device.

    Attributes:
        source: name of the stem, or "mix".
        channels: counted from 1: two (left, right), or one, which gets half of each side.

    Raises:
        StreamsepError: channels that cannot be.
    """

    source: str
    channels: tuple[int, ...]

    def __post_init__(self) -> None:
        shown = f"{self.source}={','.join(map(str, self.channels))}"
        if len(self.channels) not in (1, 2):
            raise StreamsepError(f"route {shown} names {len(self.channels)} channels; give one (mono) or two (stereo)")
        if min(self.channels) < 1:
            raise StreamsepError(f"route {shown} names channel {min(self.channels)}; channels count from 1")
        if len(set(self.channels)) < len(self.channels):
            raise StreamsepError(f"route {shown} names a channel twice; give one for mono")


def routing_matrix(routes: Sequence[Route], sources: Sequence[str], output: Routing, device_outputs: int) -> Matrix:
    """The gain of every engine output on every device channel, `[device_outputs][engine outputs]`.

    Args:
        routes: those that share a channel add up; none at all: every engine output on the channel of its own number,
            and the mix in mono on a device with one channel.
        sources: the stems, in order.
        output: what the engine plays: "mix" (2 channels) or "stems" (2 for each stem).
        device_outputs: channels of the device.

    Raises:
        StreamsepError: a stem or a channel that is not there.
    """
    engine_outputs = 2 if output == "mix" else 2 * len(sources)
    if not routes:
        routes = _in_order(sources, output, device_outputs)
    gains = [[0.0] * engine_outputs for _ in range(device_outputs)]
    for route in routes:
        left = _outputs(route, sources, output)
        if max(route.channels) > device_outputs:
            last = f"a device with {device_outputs} output channels"
            raise StreamsepError(f"route {route.source} names channel {max(route.channels)} of {last}; choose another")
        share = 1.0 if len(route.channels) == 2 else 0.5
        for side in range(2):
            for output_number in left:
                gains[route.channels[side % len(route.channels)] - 1][output_number + side] += share
    return tuple(tuple(row) for row in gains)


def plain_share(routes: Sequence[Route], sources: Sequence[str], output: Routing) -> float:
    """The gain of the mix on each pair of engine outputs that makes the sum of all that is routed the mix again.

    >>> plain_share([Route("vocals", (1, 2)), Route("drums", (3,))], ["drums", "bass", "vocals"], "stems")
    0.5
    """
    if output == "mix":
        return 1.0
    heard = {route.source for route in routes}
    return 1 / (len(sources) if not heard or MIX in heard else len(heard))


def _in_order(sources: Sequence[str], output: Routing, device_outputs: int) -> list[Route]:
    if output == "mix":
        return [Route(MIX, (1, 2) if device_outputs > 1 else (1,))]
    if device_outputs < 2 * len(sources):
        raise StreamsepError(
            f"{len(sources)} stems need {2 * len(sources)} output channels and the device has {device_outputs}; "
            "route some of them, or play the mix"
        )
    return [Route(name, (2 * number + 1, 2 * number + 2)) for number, name in enumerate(sources)]


def _outputs(route: Route, sources: Sequence[str], output: Routing) -> range:
    """The left one of each pair of engine outputs that the route carries."""
    if route.source == MIX:
        return range(0, 2 if output == "mix" else 2 * len(sources), 2)
    if route.source not in sources:
        raise StreamsepError(f"there is no stem {route.source!r} to route; choose mix, {', '.join(sources)}")
    if output == "mix":
        raise StreamsepError(f"route {route.source} needs the stems apart and the engine plays the mix; ask for stems")
    left = 2 * list(sources).index(route.source)
    return range(left, left + 1)
