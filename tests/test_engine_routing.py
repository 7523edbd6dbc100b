"""Routes to matrices: who plays where, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.engine.mixer import Routing
from streamsep.engine.routing import Route, plain_share, routing_matrix
from streamsep.errors import StreamsepError
from tests.engine_toys import NAMES


def gains(*routes: Route, output: Routing = "stems", device_outputs: int = 8) -> np.ndarray:
    return np.array(routing_matrix(routes, NAMES, output, device_outputs))


def test_no_routes_mean_the_order_of_the_outputs() -> None:
    np.testing.assert_array_equal(gains(), np.eye(8))
    np.testing.assert_array_equal(gains(device_outputs=10), np.eye(10, 8))
    np.testing.assert_array_equal(gains(output="mix", device_outputs=2), np.eye(2))
    np.testing.assert_array_equal(gains(output="mix", device_outputs=4), np.eye(4, 2))


def test_the_mix_fits_a_single_loudspeaker() -> None:
    np.testing.assert_array_equal(gains(output="mix", device_outputs=1), [[0.5, 0.5]])


def test_a_stem_goes_where_it_is_sent() -> None:
    found = gains(Route("vocals", (4, 1)), device_outputs=4)
    expected = np.zeros((4, 8))
    expected[3, 6] = expected[0, 7] = 1
    np.testing.assert_array_equal(found, expected)


def test_mono_is_half_of_each_side() -> None:
    found = gains(Route("bass", (3,)), device_outputs=3)
    np.testing.assert_array_equal(found, [[0] * 8, [0] * 8, [0, 0, 0.5, 0.5, 0, 0, 0, 0]])


def test_the_mix_of_stems_is_their_sum() -> None:
    np.testing.assert_array_equal(gains(Route("mix", (1, 2)), device_outputs=2), np.tile(np.eye(2), 4))
    np.testing.assert_array_equal(gains(Route("mix", (1,)), device_outputs=1), np.full((1, 8), 0.5))


def test_routes_that_share_a_channel_add_up() -> None:
    found = gains(Route("drums", (1, 2)), Route("bass", (2,)), Route("drums", (1, 2)), device_outputs=2)
    np.testing.assert_array_equal(found, [[2, 0, 0, 0, 0, 0, 0, 0], [0, 2, 0.5, 0.5, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ((), "route vocals= names 0 channels; give one"),
        ((1, 2, 3), "route vocals=1,2,3 names 3 channels"),
        ((0, 1), "route vocals=0,1 names channel 0; channels count from 1"),
        ((2, -1), "channel -1"),
        ((2, 2), "route vocals=2,2 names a channel twice"),
    ],
)
def test_channels_that_cannot_be(channels: tuple[int, ...], message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        Route("vocals", channels)


@pytest.mark.parametrize(
    ("route", "output", "message"),
    [
        (Route("guitar", (1, 2)), "stems", "no stem 'guitar' to route; choose mix, drums, bass, other, vocals"),
        (Route("guitar", (1, 2)), "mix", "no stem 'guitar'"),
        (Route("vocals", (1, 2)), "mix", "needs the stems apart"),
        (Route("vocals", (8, 9)), "stems", "names channel 9 of a device with 8 output channels"),
        (Route("mix", (9,)), "mix", "names channel 9"),
    ],
)
def test_routes_that_lead_nowhere(route: Route, output: Routing, message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        gains(route, output=output)


def test_stems_need_room() -> None:
    with pytest.raises(StreamsepError, match="4 stems need 8 output channels and the device has 2"):
        gains(device_outputs=2)


@pytest.mark.parametrize(
    ("routes", "output", "share"),
    [
        ([], "stems", 0.25),
        ([], "mix", 1.0),
        ([Route("vocals", (1, 2))], "stems", 1.0),
        ([Route("vocals", (1, 2)), Route("drums", (3, 4)), Route("drums", (1,))], "stems", 0.5),
        ([Route("vocals", (1, 2)), Route("mix", (3, 4))], "stems", 0.25),
    ],
)
def test_the_plain_mix_adds_up_over_what_is_routed(routes: list[Route], output: Routing, share: float) -> None:
    assert plain_share(routes, NAMES, output) == share
