"""What goes wrong with `streamsep separate`: it is one sentence, leaves no halves, and overwrites nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch import Tensor

import streamsep.cli.songs  # noqa: F401  (a plain user may not be able to import it later)
from streamsep.models.defaults import FILE_DEFAULT
from tests.separate_runs import check_stems, separate, song, toy_fixture  # noqa: F401  (a fixture)
from tests.sounds import plain_user
from tests.toys import ToySeparator

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


def test_an_empty_model_name_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-n", "") == 1
    assert "there is no model or file ''" in capsys.readouterr().err


def test_a_circle_of_links_is_no_song(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "song.wav").symlink_to(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path / "out") == 1
    assert "leads nowhere" in capsys.readouterr().err
