"""The device of a live stream: one of the machine's, or two pipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamsep.cli.live_config import LiveConfig
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    import argparse

    from streamsep.engine.backends.base import AudioBackend

PIPE = "-"
BLOCK = 256
_PIPE_RATE = 44100


@dataclass(frozen=True)
class PipeForm:
    """What goes through pipes.

    Attributes:
        format: wav, or raw samples: s16le, s24le, s32le, f32le.
        channels: of raw samples that come in; None: two.
    """

    format: str = "wav"
    channels: int | None = None


def check_flags(args: argparse.Namespace, piped: bool) -> None:
    """Refuse flags of `streamsep live` that would be ignored.

    Raises:
        StreamsepError: flags of a sound card beside pipes, or the other way round.
    """
    names = ("host_api", "latency", "exclusive") if piped else ("pipe_format", "pipe_channels")
    useless = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if piped and args.callback == "compiled":
        useless.append("--callback compiled")
    if useless:
        why = "the sound goes through pipes" if piped else "the sound goes through a device and not a pipe"
        raise StreamsepError(f"{' and '.join(useless)} would be ignored, for {why}; leave it out")


def open_device(config: LiveConfig, pipe: PipeForm | None = None, lock_step: bool = False) -> AudioBackend:
    """The device that `config` names; it does not run yet.

    Args:
        config: devices, rate, block and channels.
        pipe: what goes through pipes, if it is to be pipes.
        lock_step: the device has no clock, so it waits for the model (tests).

    Raises:
        StreamsepError: there is no such device, or it cannot do what is asked of it.
    """
    ends = (config.input_device, config.output_device)
    if ends == (PIPE, PIPE):
        return _open_pipes(config, pipe or PipeForm())
    if PIPE in ends:
        raise StreamsepError("a pipe at one end needs a pipe at the other; give both -i - and -o -, or neither")
    return _open_sound_card(config, lock_step)


def _open_pipes(config: LiveConfig, form: PipeForm) -> AudioBackend:
    from streamsep.engine.backends.pipe import PipeDevice
    from streamsep.engine.pcm import Encoding, Pcm

    block = config.blocksize or BLOCK
    if form.format == "wav":
        if form.channels or config.samplerate:
            told = "--pipe-channels" if form.channels else "--samplerate"
            raise StreamsepError(
                f"a wav stream says itself what it is; leave {told} out, or choose a raw --pipe-format"
            )
        return PipeDevice(config.outputs, block=block)
    encoding: Encoding = form.format  # type: ignore[assignment]  # argparse has checked it, and Pcm does again
    raw = Pcm(encoding, config.samplerate or _PIPE_RATE, form.channels or 2)
    return PipeDevice(config.outputs, raw=raw, encoding=encoding, header=False, block=block)


def _open_sound_card(config: LiveConfig, lock_step: bool) -> AudioBackend:
    from streamsep.engine.backends.pa_devices import find_device
    from streamsep.engine.backends.pa_plan import JACK, DeviceConfig
    from streamsep.engine.backends.portaudio import PortAudioDevice

    output = find_device(config.output_device, "output", config.host_api)
    # Blocks other than JACK's own are cut anew by PortAudio, which takes a block more of time.
    block = config.blocksize or (None if output.hostapi == JACK else BLOCK)
    return PortAudioDevice(
        DeviceConfig(
            input=config.input_device,
            output=config.output_device,
            hostapi=config.host_api,
            sample_rate=config.samplerate,
            block=block,
            latency=config.latency,
            inputs=max(config.input_channels) if config.input_channels else None,
            outputs=config.outputs,
            exclusive=config.exclusive,
            lock_step=lock_step,
        )
    )
