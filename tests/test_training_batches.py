"""Random mixtures: reproducible, consistent, and honest about stems that are not known apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamsep.config import from_dict
from streamsep.errors import StreamsepError
from streamsep.training.augment import crop_start, pan, read_at_speed
from streamsep.training.batch_effects import BatchEffects, EffectsConfig
from streamsep.training.batches import BatchConfig, BatchMaker, known_apart, varied
from streamsep.training.clips import BLOCK, Clip
from streamsep.training.data import STEMS, Library, Song

HOP = 64
CONFIG = BatchConfig(size=8, seconds=0.3, seed=3)


def make_clip(seed: int, seconds: float = 2.0, channels: int = 2, frequency: float = 0.0) -> Clip:
    """Noise, or a sine of the given frequency."""
    count = round(seconds * 44100)
    noise = np.random.default_rng(seed).normal(0, 3000, (count, channels))
    sine = 10000 * np.sin(2 * np.pi * frequency * np.arange(count) / 44100)[:, None].repeat(channels, 1)
    samples = (sine if frequency else noise).astype(np.int16)
    blocks = -(-count // BLOCK)
    level = float(np.sqrt(np.mean(np.square(samples / 32767))))
    return Clip(samples, 1 / 32767, np.full(blocks, level, np.float32), level)


def make_library(joined: bool = False) -> Library:
    full = Song("full", {stem: make_clip(i) for i, stem in enumerate(STEMS)})
    poor = Song("poor", {"drums": make_clip(5), "other": make_clip(6)}, ("bass", "other") if joined else ())
    return Library(songs=(full, poor), extra={"vocals": (make_clip(7, channels=1),)}, validation=())


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first, second = BatchMaker(make_library(), CONFIG, STEMS, HOP), BatchMaker(make_library(), CONFIG, STEMS, HOP)
    second(4)
    for a, b in zip(first(5), second(5), strict=True):
        assert a is not None and b is not None and torch.equal(a, b)
    assert not torch.equal(first(5).mix, first(6).mix)
    other = BatchMaker(make_library(), replace(CONFIG, seed=4), STEMS, HOP)
    assert not torch.equal(first(5).mix, other(5).mix)


def test_shapes_and_sum() -> None:
    batch = BatchMaker(make_library(), CONFIG, STEMS, HOP)(0)
    frames = round(0.3 * 44100 / HOP) * HOP
    assert batch.mix.shape == (8, 2, frames) and batch.sources.shape == (8, 4, 2, frames)
    assert batch.mix.dtype == batch.sources.dtype == batch.known.dtype == torch.float32
    torch.testing.assert_close(batch.sources.sum(1), batch.mix)
    assert (batch.mix.abs().amax((1, 2)) > 0).all()


def test_what_is_left_after_silencing_sounds() -> None:
    """Half of the draws would keep the resting bass alone."""
    rest = replace(make_clip(1), samples=np.zeros((88200, 2), np.int16))
    library = Library(songs=(Song("half", {"drums": make_clip(5), "bass": rest}),), extra={}, validation=())
    batch = BatchMaker(library, replace(CONFIG, remix=0.0, silence=0.7, size=24), STEMS, HOP)(0)
    assert (batch.mix.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_one_stem_alone_is_left_as_often_as_it_is_asked(remix: float) -> None:
    def sounding(alone: float) -> torch.Tensor:
        config = replace(CONFIG, remix=remix, extra={}, silence=0.0, alone=alone, size=100)
        return BatchMaker(make_library(), config, STEMS, HOP)(0).sources.abs().amax((2, 3)) > 0

    assert (sounding(1.0).sum(1) == 1).all() and (sounding(1.0).sum(0) > 10).all()
    assert 20 < (sounding(0.4).sum(1) == 1).sum() < 60
    assert (sounding(0.0).sum(1) > 1).all()


def test_a_stem_that_its_song_lacks_is_silent_in_the_own_mix() -> None:
    config = replace(CONFIG, remix=0.0, extra={}, silence=0.0, size=24)
    batch = BatchMaker(make_library(), config, STEMS, HOP)(0)
    silent = batch.sources.abs().amax((2, 3)) == 0
    poor = silent[:, 1]
    assert poor.any() and not poor.all()
    assert torch.equal(silent[:, 3], poor) and not silent[:, [0, 2]].any()


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_joined_stems_claim_their_sum_only(remix: float) -> None:
    """The joined song's `other` is a 441 Hz sine: wherever it sounds, the item must not claim a bass of its own."""
    library = make_library(joined=True)
    sine = Song("poor", {"drums": make_clip(5), "other": make_clip(0, frequency=441)}, ("bass", "other"))
    config = replace(CONFIG, remix=remix, silence=0.0, respeed=0.0, size=32)
    batch = BatchMaker(replace(library, songs=(library.songs[0], sine)), config, STEMS, HOP)(1)
    sounding = tonal(batch.sources[:, 2, 0])
    joined = batch.known[:, 1, 2] == 1
    assert sounding.any() and not sounding.all()
    assert torch.equal(joined, sounding)
    assert not batch.sources[joined][:, 1].any()
    assert torch.equal(batch.known[~joined], torch.eye(4).expand_as(batch.known[~joined]))


def test_two_files_of_several_stems_never_meet() -> None:
    """What is known of the sum of one (its stem is a 441 Hz sine) must not be asked of the other (882 Hz) as a stem."""
    songs = (
        Song("a", {"vocals": make_clip(1), "other": make_clip(0, frequency=441)}, ("drums", "bass", "other")),
        Song("b", {"other": make_clip(2), "vocals": make_clip(0, frequency=882)}, ("drums", "bass", "vocals")),
        Song("full", {stem: make_clip(10 + i) for i, stem in enumerate(STEMS)}),
    )
    config = replace(CONFIG, remix=1.0, silence=0.0, respeed=0.0, extra={}, size=100)
    batch = BatchMaker(Library(songs=songs, extra={}, validation=()), config, STEMS, HOP)(1)
    first, second = tonal(batch.sources[:, 2, 0]), tonal(batch.sources[:, 3, 0])
    assert first.any() and second.any() and not (first & second).any()
    assert torch.equal(batch.known[:, 0, 2] == 1, first) and torch.equal(batch.known[:, 0, 3] == 1, second)


def test_extra_recordings_come_in_as_often_as_asked() -> None:
    """The extra bass is a 882 Hz sine."""
    library = replace(make_library(), extra={"bass": (make_clip(0, frequency=882),)})
    shares = []
    for probability in (0.0, 0.35, 1.0):
        config = replace(CONFIG, remix=1.0, silence=0.0, respeed=0.0, extra={"bass": probability}, size=100)
        batch = BatchMaker(library, config, STEMS, HOP)(2)
        shares.append(float(tonal(batch.sources[:, 1, 0]).float().mean()))
        assert not tonal(batch.sources[:, 0, 0]).any()
    assert shares[0] == 0 and 0.2 < shares[1] < 0.5 and shares[2] == 1


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_an_extra_bass_never_meets_a_joined_song(remix: float) -> None:
    """Where a joined song's `other` (441 Hz) plays, the extra bass (882 Hz) does not; elsewhere all is known apart."""
    library = make_library(joined=True)
    sine = Song("poor", {"drums": make_clip(5), "other": make_clip(0, frequency=441)}, ("bass", "other"))
    extra = {"bass": (make_clip(0, frequency=882),), "other": (make_clip(8),)}
    library = replace(library, songs=(library.songs[0], sine), extra=extra)
    config = replace(CONFIG, remix=remix, silence=0.0, respeed=0.0, size=64, extra={"bass": 0.5, "other": 0.3})
    batch = BatchMaker(library, config, STEMS, HOP)(1)
    joined, practised = tonal(batch.sources[:, 2, 0]), tonal(batch.sources[:, 1, 0])
    assert joined.any() and not joined.all() and practised.any() == bool(remix)
    assert not batch.sources[joined][:, 1].any() and not (joined & practised).any()
    assert torch.equal(batch.known[:, 1, 2] == 1, joined)


@pytest.mark.parametrize(("extra", "message"), [({"flute": 0.5}, "flute"), ({"bass": 1.5}, "between 0 and 1")])
def test_a_wrong_share_of_extra_recordings_is_refused(extra: dict[str, float], message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        from_dict(BatchConfig, {"extra": extra})


def tonal(waves: torch.Tensor) -> torch.Tensor:
    spectra = torch.fft.rfft(waves).abs()
    return spectra.amax(-1) > 20 * spectra.mean(-1)


def test_known_apart_puts_the_sum_in_one_row() -> None:
    known = torch.from_numpy(known_apart(STEMS, ("bass", "other")))
    sources = torch.randn(4, 10)
    expected = torch.stack([sources[0], sources[1] + sources[2], torch.zeros(10), sources[3]])
    torch.testing.assert_close(known @ sources, expected)


def test_crops_prefer_what_sounds() -> None:
    clip = make_clip(0, seconds=10)
    clip.envelope[:90] = 0.0
    rng = np.random.default_rng(0)
    frames = BLOCK * 5
    preferred = [crop_start(clip, frames, True, rng) for _ in range(50)]
    anywhere = [crop_start(clip, frames, False, rng) for _ in range(50)]
    assert min(preferred) >= 87 * BLOCK and max(preferred) <= clip.length - frames
    assert min(anywhere) < 50 * BLOCK


def test_speed_raises_the_pitch() -> None:
    clip = make_clip(0, frequency=1000)
    frames = 22050
    crop = read_at_speed(clip, 0, frames, 1.1)
    peak = np.abs(np.fft.rfft(crop[0])).argmax() * 44100 / frames
    assert crop.shape == (2, frames) and peak == pytest.approx(1100, abs=4)


def test_pan_keeps_the_power() -> None:
    stem = np.ones((2, 8), np.float32)
    for position in (-1.0, -0.3, 0.0, 0.8):
        assert np.square(pan(stem, position)).sum() == pytest.approx(16, rel=1e-5)
    assert pan(stem, -1.0)[1].max() < 1e-6


def test_two_processes_draw_the_rows_of_one_with_twice_the_batch() -> None:
    whole = BatchMaker(make_library(), replace(CONFIG, size=4), STEMS, HOP)(7)
    parts = [BatchMaker(make_library(), replace(CONFIG, size=2), STEMS, HOP, rank=rank)(7) for rank in (0, 1)]
    assert torch.equal(torch.cat([part.mix for part in parts]), whole.mix)
    assert torch.equal(torch.cat([part.known for part in parts]), whole.known)


def test_effects_are_those_of_the_rows_whichever_process_has_them() -> None:
    effects = BatchEffects(EffectsConfig(), STEMS)
    makers = [BatchMaker(make_library(), replace(CONFIG, size=2), STEMS, HOP, rank=rank) for rank in (0, 1)]
    maker = BatchMaker(make_library(), replace(CONFIG, size=4), STEMS, HOP)
    whole = varied(maker(7), effects, 7, maker.rows)
    parts = [varied(part(7), effects, 7, part.rows) for part in makers]
    assert torch.equal(torch.cat([part.sources for part in parts]), whole.sources)
    torch.testing.assert_close(whole.mix, whole.sources.sum(1))
    assert not torch.equal(varied(maker(7), effects, 8, maker.rows).mix, whole.mix)


def test_shifted_stems_of_a_song_are_out_of_time() -> None:
    """All stems of the song are one noise: unshifted they are alike but for their gain."""
    song = Song("one", {stem: make_clip(0) for stem in STEMS})
    library = Library(songs=(song,), extra={}, validation=())
    for shift, alike in ((0.0, True), (0.5, False)):
        config = replace(CONFIG, remix=0.0, silence=0.0, respeed=0.0, shift=shift, size=2, extra={})
        drums, bass = BatchMaker(library, config, STEMS, HOP)(0).sources[:, :2].flatten(2).unbind(1)
        cosine = (drums * bass).sum(-1) / (drums.norm(dim=-1) * bass.norm(dim=-1))
        assert bool((cosine.abs() > 0.99).all()) is alike
