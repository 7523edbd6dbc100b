"""Ten seconds of songs to hear and see, before and after, by the weights that ship: docs/listening.md and its files.

    python -m tools.listening_clips DIR/lithium DIR/mdn_funk

A song is a folder of stems that the weights never saw. The excerpt is where most is going on; the stream has heard the
ten seconds before it. For each song: the mix, what was separated and the truth as Ogg Vorbis, a picture of their
spectrograms, and the SDR of the excerpt.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

from benchmarks.markdown import table
from benchmarks.quality_tables import number
from streamsep.cli.options import positive_float
from streamsep.errors import StreamsepError, missing, telling
from streamsep.evaluation.material import Material, Wanted, Waves, prepare
from streamsep.evaluation.metrics import StemTotals
from streamsep.evaluation.report.excerpts import RANGE, decibels, loudest, write_sounds
from streamsep.evaluation.songs import SongFiles, song_in_folder
from streamsep.files import staged
from streamsep.models.registry import load_model
from streamsep.models.separator import Separator
from streamsep.models.streaming import separate_stream

PAGE = Path(__file__).parents[1] / "docs" / "listening.md"
MODEL = "live-23-small"
QUALITY = 0.0  # of Vorbis, 0 to 1: about 60 kbit/s, so that all clips are small
CREDITS = {
    "lithium": '"Lithium" by Software-Entwicklungskit, from "Everything is Free", CC0 1.0',
    "mdn_funk": "a funk band, from mdn/webaudio-examples, CC0 1.0",
}


@dataclass(frozen=True)
class Excerpt:
    """What is heard and seen of a song.

    Attributes:
        start: of the excerpt, in seconds.
        mix: `[T, 2]`.
        true, separated: `[T, S, 2]`, of the stems `names` that sound in the excerpt.
    """

    song: str
    start: float
    rate: int
    names: tuple[str, ...]
    mix: Waves
    true: Waves
    separated: Waves

    def sdr(self, index: int) -> StemTotals:
        """The measures of one stem."""
        totals = StemTotals()
        totals.update(*(torch.from_numpy(np.ascontiguousarray(x.T)) for x in
                        (self.true[:, index], self.separated[:, index], self.mix)))  # fmt: skip
        return totals


def separate(model: Separator, song: SongFiles, seconds: float) -> Excerpt:
    """The busiest `seconds` of a song through a stream that has heard as much before them.

    Raises:
        StreamsepError: no stem sounds there.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Wanted(model.sources, model.sample_rate, excerpt=seconds)
        material = prepare(song, wanted, Path(folder))
        return _separate(model, song.name, material)


def _separate(model: Separator, name: str, material: Material) -> Excerpt:
    start, length = material.excerpt
    lead = min(start, length)
    heard = torch.from_numpy(np.array(material.mix()[start - lead : start + length].T))
    stems = separate_stream(model, heard[None])[0, ..., lead:].permute(2, 0, 1).numpy()
    truth, place = material.truth(), slice(start, start + length)
    assert truth is not None
    kept = [index for index in range(len(model.sources)) if np.abs(truth[place, index]).max(initial=0) > 1e-3]
    if not kept:
        raise StreamsepError(f"no stem of {name} sounds where most is going on; leave the song out")
    names = tuple(model.sources[index] for index in kept)
    true, mix = np.array(truth[place][:, kept]), np.array(material.mix()[place])
    return Excerpt(name, start / material.rate, material.rate, names, mix, true, stems[:, kept])


def draw(excerpt: Excerpt, path: Path) -> None:
    """Spectrograms of the mix, and of every stem as it is and as it was separated.

    Raises:
        StreamsepError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", "evaluation") from None
    rows = len(excerpt.names)
    figure = Figure(figsize=(9, 1.5 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False)
    for row, name in enumerate(excerpt.names):
        scale = loudest(excerpt.true[:, row], excerpt.rate)
        for axes, samples in zip(
            grid[row], (excerpt.mix, excerpt.separated[:, row], excerpt.true[:, row]), strict=True
        ):
            picture = decibels(samples, excerpt.rate, scale)
            axes.imshow(picture, origin="lower", aspect="auto", cmap="magma", vmin=-RANGE, vmax=0)
            axes.set(xticks=[], yticks=[])
        grid[row][0].set_ylabel(name)
    for axes, title in zip(grid[0], ("mix", "separated", "true"), strict=True):
        axes.set_title(title, fontsize="medium")
    with staged([path]) as (temporary,):
        figure.savefig(temporary, format="webp", dpi=80, pil_kwargs={"quality": 60, "method": 6})


def write(excerpt: Excerpt, folder: Path) -> None:
    """The sounds and the picture of a song."""
    write_sounds(excerpt.mix[:, None], ("mix",), excerpt.rate, folder, QUALITY)
    for stems, names in (
        (excerpt.separated, excerpt.names),
        (excerpt.true, tuple(f"{name}-true" for name in excerpt.names)),
    ):
        write_sounds(stems, names, excerpt.rate, folder, QUALITY)
    draw(excerpt, folder / "spectrograms.webp")


def page(excerpts: Sequence[Excerpt], model: str, folder: str, seconds: float) -> str:
    """The page, as Markdown."""
    parts = [f"""\
# Before and after

{seconds:g} seconds of songs that `{model}` never saw, as a stream. Written with its files by
`python -m tools.listening_clips`; [quality.md](quality.md) has the figures of whole songs."""]  # fmt: skip
    for excerpt in excerpts:
        at = quote(f"{folder}/{excerpt.song}")
        rows = [
            [name, f"[separated]({at}/{name}.ogg)", f"[true]({at}/{name}-true.ogg)",
             *(number(value if math.isfinite(value) else None) for value in (total.sdr, total.baseline))]
            for name, total in ((name, excerpt.sdr(index)) for index, name in enumerate(excerpt.names))
        ]  # fmt: skip
        credit = CREDITS.get(excerpt.song, excerpt.song)
        parts.append(
            f"## {excerpt.song}\n\nFrom {excerpt.start:.1f} s on; {credit}. [The mix]({at}/mix.ogg)\n\n"
            + table(["stem", "", "", "SDR dB", "best constant gain dB"], rows)
            + f"\n\n![Spectrograms of the mix, of the separated and of the true stems]({at}/spectrograms.webp)"
        )
    return "\n\n".join(parts) + "\n"


@telling("listening_clips")
def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and its files."""
    parser = argparse.ArgumentParser(
        prog="listening_clips", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path, nargs="+", metavar="SONG", help="folders of stems")
    parser.add_argument("--model", default=MODEL, help="name or checkpoint (default %(default)s)")
    parser.add_argument("--seconds", type=positive_float, default=10.0, help="of each song (default %(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="its files go into a folder of the same name")
    args = parser.parse_args(argv)
    excerpts = run(args)
    files = [path for path in args.page.with_suffix("").rglob("*") if path.is_file()]
    print(f"{args.page}: {len(excerpts)} songs, {sum(path.stat().st_size for path in files) / 1e6:.2f} MB")
    return 0


def run(args: Any) -> list[Excerpt]:
    """Separate, write, and tell what there is.

    Raises:
        StreamsepError: a page without an ending, a model that does not stream, or as `find` and `separate`.
    """
    if not args.page.suffix:
        raise StreamsepError(f"the page needs an ending, for its files' folder has none: --page {args.page}.md")
    model = load_model(args.model)
    if not isinstance(model, Separator):
        raise StreamsepError(f"{args.model} is not a streaming model; choose one of the live presets")
    songs, excerpts = find(args.songs, model.sources), []
    with staged([args.page], "choose another --page") as (temporary,):
        for song in songs:
            excerpts.append(separate(model, song, args.seconds))
            write(excerpts[-1], args.page.with_suffix("") / song.name)
        temporary.write_text(page(excerpts, args.model, args.page.stem, args.seconds), encoding="utf-8")
    return excerpts


def find(places: Sequence[Path], sources: Sequence[str]) -> list[SongFiles]:
    """The songs in some folders.

    Raises:
        StreamsepError: a folder without stems, or two of a name.
    """
    songs: dict[str, SongFiles] = {}
    for place in places:
        song = song_in_folder(place, sources)
        if song is None:
            raise StreamsepError(f"there is no stem in the folder {place}; name folders of stems")
        if song.name in songs:
            raise StreamsepError(f"two songs are called {song.name}, and so would their files be; rename a folder")
        songs[song.name] = song
    return list(songs.values())


if __name__ == "__main__":
    sys.exit(main())
