"""`streamsep separate`, from the command line to the files on disk."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from streamsep.cli import main
from streamsep.cli import songs as _songs  # a plain user may not be able to import it later
from streamsep.files import Codec, Samples, read_audio, write_audio
from streamsep.models import precision, registry
from streamsep.models.apply import apply_model
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.defaults import FILE_DEFAULT
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from tests.sounds import plain_user, tones
from tests.toys import ToySeparator

GAINS = {"drums": 0.5, "bass": 0.25, "other": 0.125, "vocals": 0.125}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ToySeparator:
    """Every streaming model is the toy."""
    model = ToySeparator()

    def load_model(name: str, *, device: torch.device | str | None = None) -> ToySeparator:
        return model

    monkeypatch.setattr(registry, "load_model", load_model)
    return model


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[HTDemucs, Path]:
    """A small offline model with random weights, and its checkpoint."""
    torch.manual_seed(1)
    config = HTDemucsConfig(channels=8, bottom_channels=0, layers=1, heads=2, nfft=512, depth=2, segment=0.3)
    model = HTDemucs(config).eval()
    path = tmp_path_factory.mktemp("offline") / "tiny.safetensors"
    save_checkpoint(model, path, {})
    return model, path


def song(path: Path, rate: int = 44100, seconds: float = 0.5, channels: int = 2, subtype: str = "PCM_16") -> Samples:
    """Write tones to `path` and return them."""
    samples = tones(rate, seconds, *(range(300, 300 + 100 * channels, 100)))
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return samples


def separate(*arguments: str | Path) -> int:
    return main(["separate", *map(str, arguments)])


def stems(folder: Path, ext: str = "wav") -> dict[str, tuple[Samples, int]]:
    """Every stem file in a folder, hidden files included."""
    return {path.stem: read_audio(path) for path in folder.iterdir() if path.suffix == f".{ext}"}


def check_stems(folder: Path, samples: Samples, rate: int, tolerance: float, ext: str = "wav") -> None:
    """The toy's stems of `samples` lie in `folder`, at `rate`, of the same length, in their place."""
    found = stems(folder, ext)
    assert found.keys() == GAINS.keys() and len(list(folder.iterdir())) == len(GAINS)
    edge = samples.shape[1] // 10
    for name, gain in GAINS.items():
        stem, stem_rate = found[name]
        assert stem_rate == rate and stem.shape == samples.shape
        np.testing.assert_allclose(stem[:, edge:-edge], gain * samples[:, edge:-edge], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("rate", "seconds", "channels", "subtype"),
    [
        (44100, 0.5, 2, "PCM_16"),
        (48000, 0.5, 2, "PCM_24"),
        (22050, 0.5, 1, "PCM_16"),
        (96000, 0.5, 2, "FLOAT"),
        (44100, 0.2, 2, "PCM_16"),
        (44100, 0.001, 2, "PCM_16"),
        (8000, 0.2, 1, "PCM_U8"),
    ],
)
@pytest.mark.usefixtures("toy")
def test_stems_have_the_songs_rate_length_and_channels(
    tmp_path: Path, rate: int, seconds: float, channels: int, subtype: str
) -> None:
    samples = song(tmp_path / "song.wav", rate, seconds, channels, subtype)
    assert separate(tmp_path / "song.wav", "-o", tmp_path / "out") == 0
    check_stems(tmp_path / "out" / FILE_DEFAULT / "song", samples, rate, 5e-3 if subtype == "PCM_U8" else 5e-4)


@pytest.mark.usefixtures("toy")
def test_an_mp3_keeps_its_place(tmp_path: Path) -> None:
    write_audio(tmp_path / "song.mp3", tones(44100, 0.5, 300, 400), 44100, Codec("mp3"))
    assert separate(tmp_path / "song.mp3", "-o", tmp_path / "out") == 0
    check_stems(tmp_path / "out" / FILE_DEFAULT / "song", read_audio(tmp_path / "song.mp3")[0], 44100, 1e-4)


@pytest.mark.usefixtures("toy")
def test_surround_gives_stereo(tmp_path: Path) -> None:
    samples = song(tmp_path / "song.wav", 48000, channels=6)
    assert separate(tmp_path / "song.wav", "-o", tmp_path / "out", "--clip-mode", "none", "--float32") == 0
    mixed = samples[:2] + 0.5**0.5 * (samples[2] + samples[4:])
    check_stems(tmp_path / "out" / FILE_DEFAULT / "song", mixed, 48000, 5e-4)


@pytest.mark.parametrize(("flags", "ext", "tolerance"), [(["--flac"], "flac", 1e-4), (["--mp3"], "mp3", 1e-2)])
@pytest.mark.usefixtures("toy")
def test_formats(tmp_path: Path, flags: list[str], ext: str, tolerance: float) -> None:
    samples = song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", "toy", *flags) == 0
    check_stems(tmp_path / "toy" / "song", samples, 44100, tolerance, ext)


@pytest.mark.parametrize(
    ("flags", "subtype"), [([], "PCM_16"), (["--int24"], "PCM_24"), (["--float32"], "FLOAT"), (["--flac"], "PCM_16")]
)
@pytest.mark.usefixtures("toy")
def test_bits(tmp_path: Path, flags: list[str], subtype: str) -> None:
    song(tmp_path / "song.wav")
    template = "{track}-{trackext}-{stem}.{ext}"
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", "toy", "--filename", template, *flags) == 0
    names = {path.stem: soundfile.info(path).subtype for path in (tmp_path / "toy").iterdir()}
    assert names == {f"song-wav-{stem}": subtype for stem in GAINS}


@pytest.mark.usefixtures("toy")
def test_the_rest_is_the_sum_of_the_others_unless_told(tmp_path: Path) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--two-stems", "bass") == 0
    assert stems(tmp_path / FILE_DEFAULT / "song").keys() == {"bass", "no_bass"}


@pytest.mark.parametrize(("method", "rest"), [("add", "no_vocals"), ("minus", "minus_vocals"), ("none", None)])
@pytest.mark.usefixtures("toy")
def test_two_stems(tmp_path: Path, method: str, rest: str | None) -> None:
    samples = song(tmp_path / "song.wav", 48000)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--two-stems", "vocals", "--other-method", method) == 0
    found = stems(tmp_path / FILE_DEFAULT / "song")
    assert found.keys() == {"vocals", rest} - {None}
    if rest:
        total = found["vocals"][0] + found[rest][0]
        np.testing.assert_allclose(total[:, 2400:-2400], samples[:, 2400:-2400], rtol=0, atol=5e-4)


def test_the_model_default_and_device_reach_the_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song(tmp_path / "song.wav")
    asked = []

    def load_model(name: str, *, device: torch.device) -> ToySeparator:
        asked.append((name, str(device)))
        return ToySeparator()

    monkeypatch.setattr(registry, "load_model", load_model)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", "other/path/mine.safetensors", "-d", "cpu") == 0
    assert asked == [("other/path/mine.safetensors", "cpu")] and (tmp_path / "mine" / "song" / "bass.wav").exists()


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "bidirectional-small"),
        (["--mode", "stream"], "live-23-bag"),
        (["--lookahead", "100ms"], "live-23-bag"),
        (["--mode", "offline"], "bidirectional-small"),
    ],
)
def test_which_model_is_taken_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], name: str
) -> None:
    """What hears the whole song where nobody wants a stream, and what streams where somebody does."""
    song(tmp_path / "song.wav")
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))  # where nothing was pulled
    asked = []

    def load_model(name: str, *, device: torch.device) -> ToySeparator:
        asked.append(name)
        return ToySeparator()

    monkeypatch.setattr(registry, "load_model", load_model)
    separate(tmp_path / "song.wav", "-o", tmp_path, *flags)
    assert asked == [name]


def test_offline_stems_are_what_apply_gives(tmp_path: Path, offline: tuple[HTDemucs, Path]) -> None:
    model, path = offline
    samples = song(tmp_path / "song.wav")
    flags = ["--overlap", "0.5", "--segment", "0.2", "--float32", "--clip-mode", "none"]
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", path, *flags) == 0
    found = stems(tmp_path / "tiny" / "song")
    mix = torch.from_numpy(read_audio(tmp_path / "song.wav")[0])[None]
    level = mix.mean(1).std(correction=0)
    expected = apply_model(model, (mix - mix.mean()) / level, overlap=0.5, segment=0.2)[0] * level + mix.mean()
    for name, stem in zip(model.sources, expected, strict=True):
        assert found[name][0].shape == samples.shape
        np.testing.assert_allclose(found[name][0], stem, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flags", [["--precision", "bf16", "--batch", "2"], ["--precision", "int8"]])
def test_narrower_numbers_move_the_stems_a_little(
    tmp_path: Path, offline: tuple[HTDemucs, Path], flags: list[str]
) -> None:
    song(tmp_path / "song.wav")
    for out, more in (("exact", []), ("near", flags)):
        assert separate(tmp_path / "song.wav", "-o", tmp_path / out, "-n", offline[1], "--float32", *more) == 0
    exact, near = (stems(tmp_path / out / "tiny" / "song") for out in ("exact", "near"))
    error = max(float(np.abs(near[name][0] - exact[name][0]).max()) for name in exact)
    assert 0 < error < 0.02 * max(float(np.abs(stem).max()) for stem, _ in exact.values())


@pytest.mark.parametrize(("jobs", "workers"), [("1", None), ("2", 1)])
def test_how_the_work_is_shared(
    tmp_path: Path,
    offline: tuple[HTDemucs, Path],
    monkeypatch: pytest.MonkeyPatch,
    jobs: str,
    workers: int | None,
) -> None:
    given: list[dict[str, object]] = []
    compiled: list[object] = []

    def apply(model: HTDemucs, mix: Tensor, **options: object) -> Tensor:
        given.append(options)
        return mix[:, None].repeat(1, 4, 1, 1)

    monkeypatch.setattr(precision, "compile_networks", compiled.append)
    monkeypatch.setattr(_songs, "apply_levelled", apply)
    song(tmp_path / "song.wav")
    flags = ("--batch", "3", "--compile", "-j", jobs)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", offline[1], *flags) == 0
    assert given[0].get("workers") == workers and given[0]["batch"] == 3 and "compile" not in given[0]
    assert len(compiled) == 1


def test_a_streaming_checkpoint_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(registry.build_preset("live-6-small"), tmp_path / "mine.safetensors", {})
    samples = song(tmp_path / "song.wav", seconds=0.2)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", tmp_path / "mine.safetensors", "--float32") == 0
    found = stems(tmp_path / "mine" / "song")
    # Mix consistency: the stems add up to the song.
    np.testing.assert_allclose(sum(stem for stem, _ in found.values()), samples, rtol=0, atol=1e-3)
    assert "0.2 s of music in" in capsys.readouterr().out


MISTAKES = {
    "missing": "there is no file",
    "empty": "is an empty file",
    "text": "sound file|libsndfile cannot read",
    "folder": "is a folder",
    "quad": "4 channels are neither",
}


def make_mistakes(folder: Path) -> dict[str, Path]:
    """Files that cannot be separated, by the kind of mistake."""
    paths = {name: folder / f"{name}.wav" for name in MISTAKES}
    paths["empty"].touch()
    paths["text"].write_text("no sound at all\n" * 50)
    paths["folder"].mkdir()
    soundfile.write(paths["quad"], np.zeros((100, 4)), 44100)
    return paths


@pytest.mark.parametrize("kind", MISTAKES)
@pytest.mark.usefixtures("toy")
def test_a_bad_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = make_mistakes(tmp_path)[kind]
    assert separate(path, "-o", tmp_path / "out") == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    assert output.err.startswith("streamsep: error: ") and any(m in output.err for m in MISTAKES[kind].split("|"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.usefixtures("toy")
def test_bad_files_do_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str) -> None:
    bad = list(make_mistakes(tmp_path).values())
    first, last = song(tmp_path / "first.wav"), song(tmp_path / "last.wav", 22050)
    songs = [tmp_path / "first.wav", *bad, tmp_path / "last.wav"]
    assert separate(*songs, "-o", tmp_path / "out", "-j", jobs) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == len(bad) + 1 and f"{len(bad)} of {len(bad) + 2} songs failed" in errors[-1]
    check_stems(tmp_path / "out" / FILE_DEFAULT / "first", first, 44100, 5e-4)
    check_stems(tmp_path / "out" / FILE_DEFAULT / "last", last, 22050, 5e-4)


@pytest.mark.usefixtures("toy")
def test_a_folder_without_permission_is_one_sentence(shared_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song(shared_tmp_path / "song.wav")
    shared_tmp_path.chmod(0o555)
    with plain_user():
        assert separate(shared_tmp_path / "song.wav", "-o", shared_tmp_path / "out", "-d", "cpu") == 1
    shared_tmp_path.chmod(0o755)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot write into" in error and "Permission denied" in error


@pytest.mark.usefixtures("toy")
def test_samples_that_are_not_finite_count_as_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tones(44100, 0.2, 300, 400)
    broken = samples.copy()
    broken[0, 4410:4420] = [np.nan, np.inf] * 5
    samples[0, 4410:4420] = 0
    soundfile.write(tmp_path / "song.wav", broken.T, 44100, subtype="FLOAT")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--float32") == 0
    check_stems(tmp_path / FILE_DEFAULT / "song", samples, 44100, 1e-6)
    assert "10 samples are not finite" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_absurd_amplitudes_are_limited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tones(44100, 0.2, 300, 400)
    samples[:, 4410:4420] = np.float32(1e29)
    soundfile.write(tmp_path / "song.wav", samples.T, 44100, subtype="FLOAT")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--float32", "--clip-mode", "none") == 0
    check_stems(tmp_path / FILE_DEFAULT / "song", samples.clip(-64, 64), 44100, 1e-5)
    assert "10 samples are far over full scale" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_a_name_that_is_no_text_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"so\xffng.wav")
    samples = song(tmp_path / "song.wav")
    (tmp_path / "song.wav").rename(path)
    assert separate(path, "-o", tmp_path) == 0
    check_stems(tmp_path / FILE_DEFAULT / path.stem, samples, 44100, 5e-4)


@pytest.mark.parametrize("flags", [["-j", "x"], ["-j", "0"]])
def test_a_wrong_number_of_jobs_is_told_in_words(capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    with pytest.raises(SystemExit):
        separate("song.wav", *flags)
    assert "positive_int" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("jobs", "number", "code"), [("1", signal.SIGINT, 130), ("1", signal.SIGTERM, 143), ("2", signal.SIGINT, 130)]
)
def test_an_interrupt_leaves_no_halves(
    tmp_path: Path, toy: ToySeparator, monkeypatch: pytest.MonkeyPatch, jobs: str, number: signal.Signals, code: int
) -> None:
    song(tmp_path / "song.wav"), song(tmp_path / "next.wav")
    folder = tmp_path / FILE_DEFAULT / "song"
    folder.mkdir(parents=True)
    (folder / "bass.wav").write_text("old")
    steps = 0

    def step(mix: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal steps
        steps += 1
        if jobs == "1":
            if steps == 3:
                signal.raise_signal(number)
        elif steps >= 3:  # in both threads: a song that ends before it hears of the interrupt is rightly written
            raise KeyboardInterrupt
        return ToySeparator.step(toy, mix, state)

    monkeypatch.setattr(toy, "step", step)
    assert separate(tmp_path / "song.wav", tmp_path / "next.wav", "-o", tmp_path, "-j", jobs) == code
    assert (folder / "bass.wav").read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["bass.wav"]


def job_of(offline: tuple[HTDemucs, Path], folder: Path) -> _songs.Job:
    return _songs.Job(offline[0], False, torch.device("cpu"), _songs.Output(folder), offline={"segment": 0.05})


def test_the_bar_moves_with_the_segments_of_an_offline_model(
    tmp_path: Path, offline: tuple[HTDemucs, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    song(tmp_path / "song.wav")
    shown: list[float] = []
    monkeypatch.setattr(_songs, "_follow", lambda bar, cancel: shown.append)
    _songs.separate_song(job_of(offline, tmp_path), tmp_path / "song.wav", threading.Event())
    assert len(shown) > 10 and shown == sorted(set(shown)) and shown[-1] == 0.5


def test_an_offline_model_gives_a_song_up_after_the_segment_in_work(
    tmp_path: Path, offline: tuple[HTDemucs, Path]
) -> None:
    song(tmp_path / "song.wav")
    cancel, calls = threading.Event(), 0

    def interrupt(*_: object) -> None:
        nonlocal calls
        calls += 1
        cancel.set()

    hook = offline[0].register_forward_hook(interrupt)
    with pytest.raises(_songs.Cancelled):
        _songs.separate_song(job_of(offline, tmp_path), tmp_path / "song.wav", cancel)
    hook.remove()
    assert calls == 1 and [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["song.wav"]


@pytest.mark.usefixtures("toy")
def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path) == 0
    samples = song(tmp_path / "song.wav", seconds=0.3)
    assert separate(tmp_path / "song.wav", "-o", tmp_path) == 0
    check_stems(tmp_path / FILE_DEFAULT / "song", samples, 44100, 5e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode", "offline", "-n", "toy"], "toy is a streaming model; leave --mode offline out"),
        (["--shifts", "1"], "--shifts is for offline models"),
        (["--no-split"], "--split is for offline models"),
        (["--precision", "bf16"], "--precision is for offline models"),
        (["--batch", "2"], "--batch is for offline models"),
        (["--two-stems", "piano"], "no stem 'piano'; choose --two-stems drums, bass, other, vocals"),
        (["--filename", "{artist}/{stem}.wav"], "its fields are {track}, {trackext}, {stem}, {ext}"),
        (["--filename", "{track}.{ext}"], "would be written twice"),
        (["--filename", "{track}/{stem:>99999999999}.{ext}"], "is not a template"),
        (["--filename", "{track.__class__}/{stem}.{ext}"], "is not a template"),
        (["--filename", "{track}/{stem"], "is not a template"),
        (["-d", "warp"], "device 'warp' is not usable on this machine; choose --device cpu"),
        (["--flac", "--float32"], "flac holds 16 or 24 bits"),
        (["--mp3", "--mp3-bitrate", "7"], "32 to 320 kbit/s, not 7; choose another --mp3-bitrate"),
        (["--mp3", "--int24"], "an mp3 has no bits a sample; leave out --int24, or --mp3"),
        (["--mp3", "--float32"], "an mp3 has no bits a sample; leave out --float32, or --mp3"),
        (["--mp3-bitrate", "320"], "--mp3-bitrate is for mp3 files; add --mp3"),
        (["--other-method", "add"], "--other-method is for one stem and the rest; add --two-stems"),
    ],
)
@pytest.mark.usefixtures("toy")
def test_contradictions_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path / "out", *flags) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_offline_model_does_not_stream(
    tmp_path: Path, offline: tuple[HTDemucs, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-n", offline[1], "--mode", "stream") == 1
    assert "streams only with some future in view; add --lookahead 500ms" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_songs_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "toy" / "song"
    folder.mkdir(parents=True)
    song(folder / "bass.wav")
    before = (folder / "bass.wav").read_bytes()
    assert separate(folder / "bass.wav", "-o", tmp_path, "-n", "toy", "--filename", "song/{stem}.{ext}") == 1
    assert "is one of the songs" in capsys.readouterr().err
    assert (folder / "bass.wav").read_bytes() == before


@pytest.mark.usefixtures("toy")
def test_songs_of_one_name_are_told_apart_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song(tmp_path / "song.wav"), song(tmp_path / "song.flac")
    songs = [tmp_path / "song.wav", tmp_path / "song.flac"]
    assert separate(*songs, "-o", tmp_path / "out") == 1
    assert "would be written twice" in capsys.readouterr().err
    assert separate(*songs, "-o", tmp_path / "out", "--filename", "{track}.{trackext}/{stem}.{ext}") == 0
    assert len(list((tmp_path / "out" / FILE_DEFAULT).glob("*/*.wav"))) == 8


@pytest.mark.parametrize("flags", [["--mp3", "--flac"], ["--int24", "--float32"], ["-j", "0"], ["--mode", "fast"], []])
def test_wrong_usage_is_argparses(capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        separate(*(["song.wav", *flags] if flags else []))
    assert exit_info.value.code == 2 and "usage: streamsep separate" in capsys.readouterr().err


@pytest.mark.parametrize("segment", ["nan", "inf", "0"])
def test_a_segment_is_a_number_of_seconds(
    tmp_path: Path, offline: tuple[HTDemucs, Path], capsys: pytest.CaptureFixture[str], segment: str
) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", offline[1], "--segment", segment) == 1
    assert "segment must be a number of seconds above 0" in capsys.readouterr().err


def test_a_segment_beyond_the_model_s_is_told_the_longest(
    tmp_path: Path, offline: tuple[HTDemucs, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    flags = ("-o", tmp_path, "-n", offline[1])
    assert separate(tmp_path / "song.wav", *flags, "--segment", "100") == 1
    told = capsys.readouterr().err
    assert "100 s are more than the model's segment of 0.3 s; choose a --segment of at most 0.3 s" in told
    assert separate(tmp_path / "song.wav", *flags, "--segment", "0.3") == 0
    assert separate(tmp_path / "song.wav", *flags, "--no-split") == 1
    assert "0.5 s are more than the model's segment of 0.3 s; leave out --no-split" in capsys.readouterr().err


def test_an_empty_model_name_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-n", "") == 1
    assert "there is no model or file ''" in capsys.readouterr().err


def test_a_circle_of_links_is_no_song(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "song.wav").symlink_to(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path / "out") == 1
    assert "leads nowhere" in capsys.readouterr().err
