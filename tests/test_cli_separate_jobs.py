"""Several songs at a time: who begins when, in which order it is told, and what Ctrl-C leaves undone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streamsep.cli import separate
from streamsep.errors import StreamsepError

SONGS = [Path(name) for name in "abcde"]


def test_an_interrupt_ends_the_songs_in_work_and_begins_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, told = list[str](), list[bool]()
    second, shut = threading.Event(), threading.Event()

    class Pool(ThreadPoolExecutor):
        """Tells the songs in work when those that wait have been let go, or not."""

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(False, cancel_futures=cancel_futures)
            shut.set()
            super().shutdown(wait)

    def work(job: Any, song: Path, cancel: threading.Event, row: int) -> Any:
        begun.append(song.name)
        if song.name == "a":
            assert second.wait(60)
            raise KeyboardInterrupt
        second.set()
        assert shut.wait(60)
        told.append(cancel.is_set())
        raise StreamsepError("given up")

    monkeypatch.setattr(separate, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr("streamsep.cli.songs.separate_song", work)
    with pytest.raises(KeyboardInterrupt):
        list(separate._outcomes(None, SONGS, 2))  # type: ignore[arg-type]
    # The thread of the first may have taken one more before the interrupt was heard of.
    assert begun[:2] in (["a", "b"], ["b", "a"]) and begun[2:] in ([], ["c"])
    assert told and all(told)


def test_songs_come_out_in_their_order_and_share_the_lines_of_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, second = dict[str, int](), threading.Event()

    def work(job: Any, song: Path, cancel: threading.Event, row: int) -> Any:
        rows[song.name] = row
        if song.name == "a":
            assert second.wait(60)  # it ends after the next
            raise StreamsepError("a is no song")
        second.set()
        assert not cancel.is_set()
        return song.name

    monkeypatch.setattr("streamsep.cli.songs.separate_song", work)
    (first, refused), *others = separate._outcomes(None, SONGS, 2)  # type: ignore[arg-type]
    assert first == SONGS[0] and isinstance(refused, StreamsepError)
    assert others == [(song, song.name) for song in SONGS[1:]]
    assert rows == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}
