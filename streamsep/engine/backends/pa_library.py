"""The PortAudio library: loaded late, quietly and under our name, initialised anew, given up where it can only hang.

PortAudio lists devices once, when it is initialised, so a device that comes back is found only after `restart`. Its
JACK part waits ten minutes, or ends the program by an assertion, when a stream is closed whose server has died; such a
library is abandoned as it is, and a copy of the file is loaded in its place, which starts from nothing. What the dead
library leaves behind is some memory: its threads end by themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamsep.errors import StreamsepError, missing

VERBOSE = "STREAMSEP_AUDIO_VERBOSE"  # set: what the C libraries write to stderr is shown
CLIENT_NAME = ctypes.create_string_buffer(b"streamsep")  # PortAudio keeps the pointer
_NO_START_SERVER = 1
_HINT = f"check the sound server and its configuration; {VERBOSE}=1 shows what the libraries say"
_redirecting = threading.RLock()  # two threads at once would leave stderr at the null device
_abandoned: list[Any] = []  # never unloaded: libjack still holds pointers into them


def load() -> Any:
    """The module `sounddevice`, with PortAudio initialised.

    Raises:
        StreamsepError: the package or the library is missing.
    """
    if (loaded := sys.modules.get("sounddevice")) is not None:
        return _initialised(loaded)
    if sys.platform == "win32":
        os.environ.setdefault("SD_ENABLE_ASIO", "1")
    if sys.platform == "linux":
        name_client(ctypes.util.find_library("portaudio"))
    try:
        with quiet_stderr():
            import sounddevice
    except ModuleNotFoundError:
        raise missing("sounddevice", "live") from None
    except OSError as error:
        raise _no_library(error) from error
    except Exception as error:  # PortAudioError, whose module has not been imported
        raise StreamsepError(f"PortAudio does not start ({error}); {_HINT}") from error
    return sounddevice


def restart() -> Any:
    """Initialise PortAudio anew, so that devices are listed as they are now; all streams must have been closed.

    Raises:
        StreamsepError: PortAudio does not start.
    """
    sd = load()
    with quiet_stderr():
        while sd._initialized:
            sd._terminate()
    return _initialised(sd)


def abandon(library: Any, *streams: Any) -> None:
    """Leave the loaded library, with streams that cannot be closed, for ever; `restart` begins with a fresh one.

    Only Linux can load a library twice; elsewhere the same one goes on.
    """
    sd: Any = sys.modules["sounddevice"]
    _abandoned.append((library, streams))
    if sd._lib is library:
        sd._initialized = 0  # keeps the exit handler from a library that would hang there
        with contextlib.suppress(OSError, StopIteration):
            sd._lib = _fresh_copy(sd._ffi)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what C libraries write to stderr from the user's terminal, unless the environment has `VERBOSE`."""
    if os.environ.get(VERBOSE):
        yield
        return
    with _redirecting:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)


def name_client(path: str | None) -> None:
    """Have the PortAudio at `path` call itself `CLIENT_NAME` towards JACK; where that fails, it keeps its own name."""
    with contextlib.suppress(OSError, AttributeError):
        if path is not None:
            ctypes.CDLL(path).PaJack_SetClientName(CLIENT_NAME)


def jack_period() -> int | None:
    """Frames of a period of the running JACK server, which PortAudio does not tell; None where there is none."""
    try:
        jack = ctypes.CDLL("libjack.so.0")
        jack.jack_client_open.restype = ctypes.c_void_p
        with quiet_stderr():
            client = jack.jack_client_open(b"streamsep-probe", _NO_START_SERVER, None)
    except (OSError, AttributeError):
        return None
    if client is None:
        return None
    handle = ctypes.c_void_p(client)
    frames = int(jack.jack_get_buffer_size(handle))
    jack.jack_client_close(handle)
    return frames


def _initialised(sd: Any) -> Any:
    if not sd._initialized:
        try:
            with quiet_stderr():
                sd._initialize()
        except sd.PortAudioError as error:
            raise StreamsepError(f"PortAudio does not start ({error}); {_HINT}") from error
    return sd


def _fresh_copy(ffi: Any) -> Any:
    loaded = next(path for path in _mapped_files() if path.name.startswith("libportaudio"))
    with tempfile.TemporaryDirectory(prefix="streamsep-") as folder:
        copy = shutil.copy(loaded, Path(folder) / "libportaudio-again.so")
        name_client(str(copy))
        return ffi.dlopen(str(copy))


def _mapped_files() -> Iterator[Path]:
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        fields = line.split(maxsplit=5)
        # The copies were deleted; what stays on disk is the first.
        if len(fields) == 6 and not fields[5].endswith(" (deleted)"):
            yield Path(fields[5])


def _no_library(error: OSError) -> StreamsepError:
    if sys.platform == "linux":
        cure = "sudo apt-get install libportaudio2 (Debian, Ubuntu), or portaudio in another distribution"
    else:
        cure = "pip install --force-reinstall sounddevice, whose package brings it"
    return StreamsepError(f"the PortAudio library is missing ({error}); install it: {cure}")
