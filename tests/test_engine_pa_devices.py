"""Which devices there are, without PortAudio: how they are found, and what is said where they are not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from streamsep.engine.backends import pa_library
from streamsep.engine.backends.pa_devices import DeviceInfo, find_device, list_devices
from streamsep.errors import StreamsepError
from tests.stub_sounddevice import Sounddevice, device, install, studio_fixture  # noqa: F401  (a fixture)


@pytest.mark.parametrize(
    ("wanted", "kind", "number"),
    [
        (None, "input", 0),
        (1, "input", 1),
        ("1", "input", 1),
        ("usb", "input", 1),
        ("SPEAKERS", "output", 2),
        ("face", "output", 0),
    ],
)
def test_devices_are_found_by_number_or_name(studio: Sounddevice, wanted: Any, kind: Any, number: int) -> None:
    assert find_device(wanted, kind).number == number


@pytest.mark.parametrize(
    ("wanted", "kind", "error"),
    [
        (3, "input", "there is no device 3, the last is 2; streamsep devices lists them"),
        (-1, "input", "there is no device -1, the last is 2; streamsep devices lists them"),
        (2, "input", "device 2 (Speakers) has no input; streamsep devices lists what has"),
        ("speakers", "input", "there is no input device 'speakers'; streamsep devices lists them"),
        ("Speekers", "output", "there is no output device 'Speekers'; did you mean Speakers?"),
        ("e", "output", "'e' is part of several names (0 Interface 8, 2 Speakers); choose one by number or full name"),
    ],
)
def test_a_device_that_is_not_there_is_named(studio: Sounddevice, wanted: Any, kind: Any, error: str) -> None:
    with pytest.raises(StreamsepError) as caught:
        find_device(wanted, kind)
    assert str(caught.value) == error


def test_a_full_name_goes_before_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, device("Mic 2"), device("mic"))
    assert find_device("Mic", "input").number == 1


def test_the_quickest_host_api_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, device("Card", host="MME"), device("Card", host="Windows WASAPI"))
    assert find_device("card", "input").number == 1
    assert find_device("card", "input", "mme").number == 0
    assert find_device("card", "input", "windowswasapi").number == 1
    assert find_device(None, "output", "wasapi").number == 1  # the system's default is the other one's
    with pytest.raises(StreamsepError, match="of host API 'ASIO', but of MME, Windows WASAPI; choose one of these"):
        find_device("card", "input", "ASIO")


def test_no_default_and_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = install(monkeypatch, device("Speakers", 0, 2), default=(-1, 0))
    with pytest.raises(StreamsepError, match="there is no default input device; choose one that streamsep devices"):
        find_device(None, "input")
    stub.devices = []
    for platform, cure in (("linux", "group audio"), ("darwin", "System Settings"), ("win32", "sound settings")):
        monkeypatch.setattr(sys, "platform", platform)
        with pytest.raises(StreamsepError, match=f"there are no audio devices; plug one in.*{cure}"):
            find_device(None, "input")


def test_what_is_listed(studio: Sounddevice) -> None:
    studio.default.device = (1, 2)
    listed = list_devices()
    assert [(d.default_input, d.default_output) for d in listed] == [(False, False), (True, False), (False, True)]
    assert listed[1] == DeviceInfo(
        1, "USB Mic (hw:1,0)", "ALSA", 1, 0, 48000, (0.01, 0.03), (0.02, 0.06), default_input=True, default_output=False
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(StreamsepError, match=r"sounddevice is not installed; run: pip install 'streamsep\[live\]'"):
        list_devices()


@pytest.mark.parametrize(("platform", "cure"), [("linux", "apt-get install libportaudio2"), ("darwin", "pip install")])
def test_a_missing_library_has_a_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, cure: str
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(StreamsepError, match=f"the PortAudio library is missing .*not found.*; install it: .*{cure}"):
        pa_library.load()


def test_asio_is_switched_on_for_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("import os; asio = os.environ['SD_ENABLE_ASIO']", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    for before, after in ((None, "1"), ("x", "x")):
        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        monkeypatch.delenv("SD_ENABLE_ASIO", raising=False)
        if before is not None:
            monkeypatch.setenv("SD_ENABLE_ASIO", before)
        monkeypatch.setattr(pa_library, "_initialised", lambda module: module)
        assert pa_library.load().asio == after
    monkeypatch.delitem(sys.modules, "sounddevice")


def test_libraries_are_kept_from_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pa_library.quiet_stderr(), pa_library.quiet_stderr():
        os.write(2, b"ALSA lib: noise")
    os.write(2, b"ours ")
    monkeypatch.setenv(pa_library.VERBOSE, "1")
    with pa_library.quiet_stderr():
        os.write(2, b"ALSA lib: wanted")
    assert capfd.readouterr().err == "ours ALSA lib: wanted"


def test_a_restart_lists_devices_anew(studio: Sounddevice) -> None:
    studio._initialized = 2
    studio.coming = [[device("New")]]
    pa_library.restart()
    assert studio._initialized == 1 and [d.name for d in list_devices()] == ["New"]


def test_the_period_is_asked_of_jack_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(pa_library.ctypes, "CDLL", absent)
    assert pa_library.jack_period() is None
