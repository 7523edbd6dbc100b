"""Sound files in and out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.errors import StreamsepError
from streamsep.files import (
    Codec,
    check_readable,
    from_stereo,
    prevent_clipping,
    read_audio,
    resample,
    staged,
    to_stereo,
    write_audio,
)
from tests.sounds import pitch, plain_user, tones

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.mark.parametrize(("bits", "error"), [(16, 2**-15), (24, 2**-23), (32, 0.0)])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_wav_keeps_rate_length_channels_and_values(tmp_path: Path, bits: int, error: float, rate: int) -> None:
    for channels in (1, 2, 6):
        samples = tones(rate, 0.05, *range(100, 100 + channels))
        write_audio(tmp_path / "x.wav", samples, rate, Codec(bits=bits))  # type: ignore[arg-type]
        back, back_rate = read_audio(tmp_path / "x.wav")
        assert back_rate == rate and back.dtype == np.float32
        np.testing.assert_allclose(back, samples, rtol=0, atol=error)
    info = soundfile.info(tmp_path / "x.wav")
    assert (info.format, info.subtype) == ("WAV", {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}[bits])


@pytest.mark.parametrize("bits", [16, 24])
def test_flac_is_lossless_to_its_bits(tmp_path: Path, bits: int) -> None:
    samples = tones(48000, 0.1, 300, 500)
    write_audio(tmp_path / "x.flac", samples, 48000, Codec("flac", bits))  # type: ignore[arg-type]
    back, rate = read_audio(tmp_path / "x.flac")
    assert rate == 48000 and soundfile.info(tmp_path / "x.flac").subtype == f"PCM_{bits}"
    np.testing.assert_allclose(back, samples, rtol=0, atol=2.0 ** (1 - bits))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_mp3_keeps_rate_length_and_place(tmp_path: Path, rate: int, rng: np.random.Generator) -> None:
    noise = resample(rng.normal(0, 0.1, (2, rate // 8)).astype(np.float32), rate // 8, rate // 2)
    write_audio(tmp_path / "x.mp3", noise, rate, Codec("mp3"))
    back, back_rate = read_audio(tmp_path / "x.mp3")
    assert (back_rate, back.shape) == (rate, noise.shape)
    correlation = np.correlate(back[0], noise[0], "full")
    assert correlation.argmax() == noise.shape[1] - 1


@pytest.mark.parametrize(("rate", "bitrates"), [(44100, (32, 64, 128, 320)), (22050, (32, 160)), (8000, (64,))])
def test_mp3_bitrate_sets_the_size(
    tmp_path: Path, rate: int, bitrates: tuple[int, ...], rng: np.random.Generator
) -> None:
    noise = rng.normal(0, 0.1, (2, 4 * rate)).astype(np.float32)
    for bitrate in bitrates:
        write_audio(tmp_path / "x.mp3", noise, rate, Codec("mp3", bitrate=bitrate))
        assert (tmp_path / "x.mp3").stat().st_size * 8 / 4000 == pytest.approx(bitrate, rel=0.07)


def test_mp3_above_48_khz_is_resampled(tmp_path: Path) -> None:
    write_audio(tmp_path / "x.mp3", tones(96000, 0.5, 1000, 2000), 96000, Codec("mp3"))
    back, rate = read_audio(tmp_path / "x.mp3")
    assert (rate, back.shape) == (48000, (2, 24000))
    assert [pitch(c, rate) for c in back] == [1000, 2000]


def test_integer_formats_clip_and_do_not_wrap(tmp_path: Path) -> None:
    write_audio(tmp_path / "x.wav", np.array([[2.0, -2.0]], dtype=np.float32), 44100)
    np.testing.assert_allclose(read_audio(tmp_path / "x.wav")[0], [[1, -1]], atol=1e-4)


@pytest.mark.parametrize(("form", "bits", "bitrate"), [("flac", 32, 320), ("mp3", 16, 8), ("mp3", 16, 400)])
def test_impossible_codecs_are_refused(form: str, bits: int, bitrate: int) -> None:
    with pytest.raises(StreamsepError, match=r"flac holds|kbit/s"):
        Codec(form, bits, bitrate)  # type: ignore[arg-type]


@needs_ffmpeg
@pytest.mark.parametrize(("name", "codec"), [("x.m4a", "aac"), ("x.mka", "ac3"), ("-x: y.wma", "wmav2")])
def test_ffmpeg_reads_what_libsndfile_does_not(tmp_path: Path, name: str, codec: str) -> None:
    write_audio(tmp_path / "x.wav", tones(32000, 1, 1000, 2000), 32000)
    convert(tmp_path / "x.wav", tmp_path / name, "-c:a", codec)
    samples, rate = read_audio(tmp_path / name)
    assert rate == 32000 and samples.shape[0] == 2 and abs(samples.shape[1] - 32000) <= 4096
    assert [pitch(c[8000:24000], rate) for c in samples] == [1000, 2000]


@needs_ffmpeg
@pytest.mark.parametrize(("name", "codec"), [("x.ogg", "libvorbis"), ("x.flac", "flac"), ("x.m4a", "aac")])
def test_surround_has_one_order_of_channels(tmp_path: Path, name: str, codec: str) -> None:
    write_audio(tmp_path / "x.wav", tones(48000, 1, 200, 400, 600, 50, 1000, 1200), 48000)
    convert(tmp_path / "x.wav", tmp_path / name, "-c:a", codec, before=("-channel_layout", "5.1"))
    samples, rate = read_audio(tmp_path / name)
    assert [pitch(c[:48000], rate) for c in samples] == pytest.approx([200, 400, 600, 50, 1000, 1200], abs=2)


def convert(source: Path, target: Path, *options: str, before: tuple[str, ...] = ()) -> None:
    """Code `source` anew with ffmpeg."""
    command = ["ffmpeg", "-v", "error", "-nostdin", *before, "-i", str(source), *options, f"file:{target}"]
    subprocess.run(command, check=True)


def test_without_ffmpeg_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "x.wav").write_text("this is no sound\n" * 100)
    with pytest.raises(StreamsepError, match=r"x\.wav; install ffmpeg or convert"):
        read_audio(tmp_path / "x.wav")


@needs_ffmpeg
def test_text_called_wav_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_text("this is no sound\n" * 100)
    with pytest.raises(StreamsepError, match=r"x\.wav is not a sound file"):
        read_audio(tmp_path / "x.wav")


def test_missing_empty_silent_and_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "header.wav", np.zeros((0, 2)), 44100)
    cases = {"missing.wav": "no file", "empty.wav": "empty file", "header.wav": "holds no sound", "": "is a folder"}
    for name, message in cases.items():
        with pytest.raises(StreamsepError, match=message):
            read_audio(tmp_path / name)


def test_without_permission_the_reason_is_told(shared_tmp_path: Path) -> None:
    song = shared_tmp_path / "x.wav"
    write_audio(song, tones(8000, 0.1, 100), 8000)
    song.chmod(0)
    with plain_user(), pytest.raises(StreamsepError, match="Permission denied"):
        read_audio(song)


def test_a_folder_that_refuses_is_named(shared_tmp_path: Path) -> None:
    shared_tmp_path.chmod(0o555)
    with plain_user(), pytest.raises(StreamsepError, match=r"cannot write into .* \(Permission denied\)"):
        write_audio(shared_tmp_path / "deeper" / "x.wav", tones(8000, 0.1, 100), 8000)
    shared_tmp_path.chmod(0o755)
    assert not list(shared_tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StreamsepError, match="cannot write into"):
        write_audio(tmp_path / "taken" / "x.wav", tones(8000, 0.1, 100), 8000)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_files(tmp_path: Path, error: type[BaseException]) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("old")
    with pytest.raises(error), staged(paths) as temporaries:
        temporaries[0].write_text("new")
        raise error
    assert paths[0].read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("path", [".", "/", ".."])
def test_a_path_without_a_name_is_a_folder(path: str) -> None:
    with pytest.raises(StreamsepError, match="is a folder, and a file is to be written there"), staged([Path(path)]):
        pass


def test_a_link_stays_one_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_text("old")
    links = [tmp_path / "link", tmp_path / "dangling"]
    links[0].symlink_to("there/real")
    links[1].symlink_to("there/new")
    with staged(links) as temporaries:
        for path in temporaries:
            path.write_text("new")
    assert all(link.is_symlink() for link in links)
    assert {p.name: p.read_text() for p in (tmp_path / "there").iterdir()} == {"real": "new", "new": "new"}
    links[1].unlink()
    links[1].symlink_to("link")
    with pytest.raises(StreamsepError, match="one and the same; choose"), staged(links):
        pass
    links[0].unlink()
    links[0].symlink_to("dangling")
    with pytest.raises(StreamsepError, match="leads nowhere"), staged(links):
        pass


# Not with a device: where the tests run as root, a mistake would take it from the whole machine.
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sink")
    (tmp_path / "link").symlink_to("sink")
    for name in ("sink", "link"):
        message = f"{name} is a device or a pipe and no ordinary file; choose another --json"
        with pytest.raises(StreamsepError, match=message), staged([tmp_path / name], "choose another --json"):
            raise AssertionError("the work has begun")
    assert (tmp_path / "sink").is_fifo() and len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_song_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "song")
    pipe = os.open(tmp_path / "song", os.O_RDWR)
    os.write(pipe, b"RIFF")
    with pytest.raises(StreamsepError, match=r"song is a pipe or a device; write the sound to a file first, or pipe"):
        check_readable(tmp_path / "song")
    assert os.read(pipe, 4) == b"RIFF"
    os.close(pipe)


def test_success_replaces_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("old")
    with staged(paths) as temporaries:
        for path in temporaries:
            path.write_text("new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "new", "b": "new"}


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000, 192000])
def test_resampling_there_and_back_keeps_place_and_length(rate: int) -> None:
    samples = tones(rate, 0.5, 440, 1000)
    there = resample(samples, rate, 44100)
    assert there.shape[1] == pytest.approx(22050, abs=1)
    back = resample(there, 44100, rate, samples.shape[1])
    middle = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(back[:, middle], samples[:, middle], rtol=0, atol=1e-3)


def test_resampling_fits_the_length_asked_for() -> None:
    samples = tones(44100, 0.01, 440)
    assert np.array_equal(resample(samples, 44100, 44100, 10), samples[:, :10])
    longer = resample(samples, 44100, 44100, 1000)
    assert longer.shape == (1, 1000) and not longer[:, 441:].any()
    assert resample(samples[:, :1], 44100, 48000, 1).shape == (1, 1)


def test_mono_goes_to_both_channels_and_back() -> None:
    mono = tones(8000, 0.1, 100)
    stereo = to_stereo(mono)
    assert np.array_equal(stereo, np.concatenate([mono, mono]))
    assert np.array_equal(from_stereo(stereo, 1), mono)
    assert from_stereo(stereo, 6) is stereo


def test_surround_is_mixed_down_as_bs_775_says() -> None:
    down = to_stereo(np.eye(6, dtype=np.float32))
    half = 0.5**0.5
    np.testing.assert_allclose(down, [[1, 0, half, 0, half, 0], [0, 1, half, 0, 0, half]], rtol=1e-6)


@pytest.mark.parametrize("channels", [3, 4, 5, 7, 8])
def test_other_layouts_are_refused(channels: int) -> None:
    with pytest.raises(StreamsepError, match=f"{channels} channels are neither"):
        to_stereo(np.zeros((channels, 4), dtype=np.float32))


def test_clip_modes() -> None:
    loud, soft = tones(8000, 0.1, 100) * 8, tones(8000, 0.1, 100)
    np.testing.assert_allclose(prevent_clipping(loud, "rescale"), loud / (1.01 * np.abs(loud).max()), rtol=1e-6)
    assert np.array_equal(prevent_clipping(loud, "clamp"), loud.clip(-0.99, 0.99))
    assert prevent_clipping(loud, "none") is loud
    for mode in ("rescale", "clamp", "none"):
        assert np.array_equal(prevent_clipping(soft, mode), soft)
    assert prevent_clipping(np.zeros((2, 0), dtype=np.float32), "rescale").shape == (2, 0)


@pytest.mark.parametrize("rate", [999, 800_000])
def test_rates_beyond_all_sound_are_refused(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), rate)
    with pytest.raises(StreamsepError, match=f"claims {rate} Hz"):
        read_audio(tmp_path / "a.wav")


def test_a_name_that_no_file_can_have_is_one_sentence() -> None:
    with pytest.raises(StreamsepError, match="no name that a file can have"):
        read_audio("a\0b.wav")
