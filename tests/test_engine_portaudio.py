"""PortAudio devices on virtual ones (ALSA files, JACK's dummy driver), each in a process of its own.

What needs no PortAudio is in `test_engine_portaudio_stub.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsep.engine.ring import Audio
from tests.audio_servers import AlsaFiles, Child, JackFiles, JackServer

pytestmark = pytest.mark.audio

FRAMES = 20000
PERIOD = 256


@pytest.fixture
def song(rng: np.random.Generator) -> Audio:
    """Samples that single precision multiplies by small numbers without rounding: [2, T]."""
    return (rng.integers(-2000, 2000, (2, FRAMES)) / 4096).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path, song: Audio) -> AlsaFiles:
    files = AlsaFiles(tmp_path)
    files.write(song)
    return files


@pytest.fixture(scope="module")
def server() -> Iterator[JackServer]:
    with JackServer(period=PERIOD) as server:
        yield server


def expected(song: Audio, outputs: int) -> Audio:
    """What `Gains` makes of the song."""
    return np.stack([song[c % 2] * np.float32(c + 1) for c in range(outputs)])


def assert_delayed(played: Audio, song: Audio, latency: int) -> None:
    """`played` is the song, `latency` frames later, to the bit, and silent before it."""
    frames = min(played.shape[1] - latency, song.shape[1])
    assert frames > song.shape[1] // 2
    assert not played[:, :latency].any()
    np.testing.assert_array_equal(played[:, latency : latency + frames], expected(song, len(played))[:, :frames])


@pytest.mark.parametrize(
    ("outputs", "block", "latency"),
    [
        (2, 64, "low"),
        (4, 128, "low"),
        (8, 256, "low"),
        (8, 256, "high"),
        (2, 200, 0.003),
        (4, 1024, "low"),
        (2, None, "low"),
        (2, None, "high"),
    ],
)
def test_alsa_delays_by_what_is_declared(
    files: AlsaFiles, song: Audio, outputs: int, block: int | None, latency: str | float
) -> None:
    name = f"loop{outputs}"
    config = {"input": name, "output": name, "outputs": outputs, "block": block, "latency": latency, "lock_step": True}
    with Child("delay", files.environment, config=config, frames=FRAMES) as child:
        before, after = child.next(), child.next()
        assert child.end() == ""
    assert before["guess"] == before["latency"] and before["block"] == block and not before["separate"]
    assert after["ended"] and after["lost"] is None
    assert after["sizes"] == [block] if block else len(after["sizes"]) == 1
    assert after["pumped"] == -(-FRAMES // after["sizes"][0])
    assert_delayed(files.read(outputs), song, before["latency"])


def test_alsa_runs_a_compiled_callback(files: AlsaFiles, song: Audio) -> None:
    config = {"input": "loop4", "output": "loop4", "outputs": 4, "block": 128}
    with Child("delay", files.environment, config=config, frames=FRAMES, compiled=True) as child:
        before, after = child.next(), child.next()
        child.end()
    assert after["ended"] and after["sizes"] == []
    assert_delayed(files.read(4), song, before["latency"])


def test_two_alsa_devices_are_two_streams(files: AlsaFiles, song: Audio) -> None:
    config = {"input": "record2", "output": "play4", "outputs": 4, "block": 256}
    with Child("capture", files.environment, config=config, frames=3000) as child:
        about, heard = child.next(), child.next()
        child.end()
    assert about == {"separate": True, "rates": [44100, 44100], "latency": 512}
    np.testing.assert_array_equal(np.array(heard, dtype=np.float32), song[:, :3000])
    played = files.read(4)
    start = int(np.argmax(played[0] > 0)) - 1  # `Gains` without an input plays a ramp
    ramp = np.arange(1000, dtype=np.float32)
    np.testing.assert_array_equal(played[:, start : start + 1000], np.outer([1, 2, 3, 4], ramp))


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"input": "loop9"}, "there is no input device 'loop9'; did you mean"),
        ({"input": "loop"}, "'loop' is part of several names"),
        ({"output": 7777}, "there is no device 7777, the last is "),
        ({"hostapi": "ASIO"}, "there are no devices of host API 'ASIO', but of ALSA; choose one of these"),
        ({"input": "loop2", "output": "loop2", "outputs": 200}, "loop2 has 128 output channels and 200 are asked for"),
        (
            {"input": "loop2", "output": "loop2", "sample_rate": 10**6},
            "loop2 refuses 1000000 Hz; choose 44100 or 48000 or 88200 or 96000 Hz",
        ),
    ],
)
def test_a_refusal_says_what_would_do(files: AlsaFiles, config: dict[str, Any], error: str) -> None:
    with Child("refused", files.environment, config={"input": "loop2", "output": "loop2", **config}) as child:
        assert child.next().startswith(error)
        assert child.end() == ""


@pytest.mark.parametrize(
    ("outputs", "block", "compiled", "delay"),
    [
        (2, None, False, 0),
        (8, PERIOD, False, 0),  # its own period by number is no reason to cut blocks anew
        (4, 64, False, 64),
        (2, 300, False, 300),
        (8, 512, True, 512),
        (4, None, True, 0),
    ],
)
def test_jack_delays_by_what_is_declared(
    server: JackServer, song: Audio, outputs: int, block: int | None, compiled: bool, delay: int
) -> None:
    devices = JackFiles(server, song, outputs, FRAMES)
    config = {"input": "song", "output": "recorder", "outputs": outputs, "block": block, "lock_step": not compiled}
    try:
        with Child("delay", server.environment, config=config, compiled=compiled) as child:
            before = child.next()
            recording = devices.run()
            child.end()
            after = child.next()
    finally:
        devices.close()
    assert before["latency"] == before["guess"] == delay and before["block"] == (block or PERIOD)
    assert compiled or after["sizes"] == [block or PERIOD]
    assert_delayed(recording, song, delay)


def test_jack_ports_are_ours_and_counted_in(server: JackServer) -> None:
    config = {"input": "system", "output": "system", "outputs": 8}
    with Child("delay", server.environment, config=config) as child:
        before = child.next()
        ports = server.ports()
        child.end()
    names = {f"streamsep:in_{channel}" for channel in range(2)} | {f"streamsep:out_{channel}" for channel in range(8)}
    assert names <= set(ports)
    # The dummy driver's capture ports claim one period and its playback ports, as the server is asynchronous, two.
    assert before["latency"] == 3 * PERIOD


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"outputs": 9}, "system has 8 output channels and 9 are asked for; choose another --output-device"),
        ({"inputs": 3}, "system has 2 input channels and 3 are asked for; choose another --input-device"),
        ({"sample_rate": 48000}, "system refuses 48000 Hz; the JACK server runs at 44100 Hz, so leave the rate out"),
    ],
)
def test_jack_refuses_too(server: JackServer, config: dict[str, Any], error: str) -> None:
    with Child("refused", server.environment, config={"input": "system", "output": "system", **config}) as child:
        assert child.next().startswith(error)
        assert child.end() == ""


@pytest.mark.parametrize("block", [None, 64, 512])
def test_the_measured_round_trip_is_the_declared_one(server: JackServer, block: int | None) -> None:
    config = {"input": "system", "output": "system", "outputs": 2, "block": block}
    with Child("round_trip", server.environment, config=config, repeats=2, seconds=0.2) as child:
        trip = child.next()
        child.end()
    assert trip["found"] >= 1 and trip["spread"] < 0.01 and abs(trip["gain"] - 1) < 1e-3
    # Through the server a loop takes one period, in place of the three that the ports claim for their way to the air.
    assert trip["frames"] == pytest.approx(trip["latency"] - 3 * PERIOD + PERIOD, abs=0.01)


def test_a_dead_server_is_told_and_its_return_noticed() -> None:
    with JackServer(period=PERIOD) as server:
        config = {"input": "system", "output": "system", "outputs": 8, "block": PERIOD}
        with Child("survive", server.environment, config=config) as child:
            running = child.next()
            for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                server.kill(how)
                lost = child.next(10)
                assert lost["what"] == "system is gone: unplugged, or its sound server has ended"
                server.start()
                back = child.next(15)
                assert back["what"] == "back" and back["done"] > lost["done"]
                assert back["latency"] == running["latency"] and back["sizes"] == [PERIOD]
                assert (back["threads"], back["handles"]) == (running["threads"], running["handles"])
            server.kill()
            child.next(10)
            child.end(10)
            assert child.next()["stopped"] < 5


def test_a_hanging_server_does_not_hold_up_the_end() -> None:
    with JackServer(period=PERIOD) as server:
        config = {"input": "system", "output": "system", "outputs": 2}
        with Child("survive", server.environment, config=config) as child:
            child.next()
            server.send(signal.SIGSTOP)
            try:
                assert child.next(10)["what"].startswith("system has delivered nothing for 1.")
                child.end(10)
                assert child.next()["stopped"] < 5
            finally:
                server.send(signal.SIGCONT)
