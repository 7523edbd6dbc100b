"""The reader of `.th` packages runs nothing of what a file asks for, and reads what published packages hold."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.errors import StreamsepError
from streamsep.models import restricted_pickle
from streamsep.models.restricted_pickle import read_package

# What the published HTDemucs packages refer to, next to tensor storages.
PUBLISHED = {
    "_codecs.encode",
    "collections.OrderedDict",
    "demucs.htdemucs.HTDemucs",
    "fractions.Fraction",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "torch._utils._rebuild_tensor_v2",
}


class Malice:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def pack(
    path: Path, content: bytes, entries: Mapping[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED
) -> Path:
    """A zip archive with `content` as its pickle, as `torch.save` lays it out."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in {"data.pkl": content, **(entries or {})}.items():
            archive.writestr(f"archive/{name}", data)
    return path


def test_reads_what_published_packages_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.th"
    matrix = torch.randn(3, 4)
    package: dict[str, Any] = {
        "state": OrderedDict(a=matrix.half(), b=matrix.t(), c=torch.tensor(3), d=torch.zeros(0, 2), e=matrix[1, 1:]),
        "segment": [Fraction(39, 5), -0.25, None, True, "x"],
        "metrics": {"sdr": np.float64(9.0), "raw": b"\xff\x00"},
    }
    torch.save(package, path)
    read = read_package(path)
    assert read["state"].keys() == package["state"].keys()
    assert all(torch.equal(read["state"][name], value) for name, value in package["state"].items())
    assert read["segment"] == package["segment"]
    assert read["metrics"]["raw"] == b"\xff\x00" and not isinstance(read["metrics"]["sdr"], np.generic)


def test_numpy_figures_of_older_numpys(tmp_path: Path) -> None:
    # numpy 1 knew the module as numpy.core, and that is what the published packages name.
    content = pickle.dumps({"sdr": np.float64(9.0)}, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in content
    assert not isinstance(read_package(pack(tmp_path / "a.th", content))["sdr"], np.generic)


def test_fractions_of_older_pythons(tmp_path: Path) -> None:
    # Python 3.11 writes the text, 3.12 two integers; pickled by hand, so that either version can run this.
    for arguments in (b"X\x04\x00\x00\x0039/5\x85", b"K\x27K\x05\x86"):
        path = pack(tmp_path / "a.th", b"\x80\x02}X\x01\x00\x00\x00scfractions\nFraction\n" + arguments + b"Rs.")
        assert read_package(path) == {"s": Fraction(39, 5)}


def test_knows_no_more_than_published_packages_need() -> None:
    others = restricted_pickle._KNOWN.keys() - PUBLISHED
    storages = {name for name in others if name.startswith("torch.") and name.endswith("Storage")}
    older_classes = {"demucs.demucs.Demucs", "demucs.hdemucs.HDemucs"}  # named so that they can be refused by name
    assert restricted_pickle._KNOWN.keys() >= PUBLISHED
    assert others - storages == older_classes | {"numpy._core.multiarray.scalar"}


@pytest.mark.parametrize("layout", ["zip", "legacy", "tar", "pickle"])
@pytest.mark.parametrize("place", ["top", "nested"])
@pytest.mark.parametrize("weapon", ["os.system", "eval"])
def test_malice_is_refused_and_not_run(weapon: str, place: str, layout: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "model.th"
    malice = Malice(os.system, f"touch {mark}") if weapon == "os.system" else Malice(eval, f"open({str(mark)!r}, 'w')")
    content = malice if place == "top" else {"klass": None, "state": {"a": torch.ones(2), "b": [malice]}}
    if layout in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    elif layout == "tar":
        write_tar(path, pickle.dumps(malice, 2))
    else:
        path.write_bytes(pickle.dumps(malice, 2))
    with pytest.raises(StreamsepError) as caught:
        read_package(path)
    assert not mark.exists() and "\n" not in str(caught.value)
    if layout == "zip":
        assert {"os.system": f"{os.name}.system", "eval": "__builtin__.eval"}[weapon] in str(caught.value)


def write_tar(path: Path, content: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.mark.filterwarnings("ignore")
def test_the_planted_malice_would_work(tmp_path: Path) -> None:
    """Without this, the test above could pass because its weapons are blunt."""
    mark = tmp_path / "mark"
    torch.save({"a": [Malice(os.system, f"touch {mark}")]}, tmp_path / "model.th")
    torch.load(tmp_path / "model.th", weights_only=False)
    assert mark.exists()


REFUSED = {
    "attribute": (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.", "OrderedDict.fromkeys"),
    "change": (b"cfractions\nFraction\n}X\x01\x00\x00\x00aK\x01sb.", "tries to change fractions.Fraction"),
    "change of a class": (b"cdemucs.htdemucs\nHTDemucs\nN}X\x01\x00\x00\x00aK\x01s\x86b.", "tries to change demucs"),
    "call of a class": (b"cdemucs.htdemucs\nHTDemucs\n)R.", "not callable"),
    "instance of a class": (b"\x80\x02cdemucs.htdemucs\nHTDemucs\n)\x81.", "damaged"),
    "old style instance": (b"(S'true'\nios\nsystem\n.", "os.system"),
    "extension code": (b"\x80\x02\x82\x01.", "extension code 1"),
    "huge fraction": (b"cfractions\nFraction\n(X\x0b\x00\x00\x001e999999999tR.", "malformed fraction"),
    "other codec": (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "malformed bytes"),
    "huge memo": (b"\x80\x02}r\xff\xff\xff\x7f", "damaged"),
    "quantiser": (b"cdiffq.diffq\nDiffQuantizer\n.", "quantised"),
    "no dictionary": (b"]", "damaged"),
    "a list": (b"].", "a list instead of a dictionary"),
    "empty": (b"", "damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_handmade_pickles_are_refused(case: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    with pytest.raises(StreamsepError, match=message) as caught:
        read_package(pack(tmp_path / "a.th", content))
    assert "\n" not in str(caught.value)
    assert not hasattr(Fraction, "a")


def tensor_pickle(numel: int, offset: int, size: int, stride: int) -> bytes:
    """One tensor of float32 in storage 0."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK%ctQ" % numel
    shape = b"K%cK%c\x85K%c\x85\x89cfractions\nFraction\nt" % (offset, size, stride)
    return b"\x80\x02}X\x01\x00\x00\x00tctorch._utils\n_rebuild_tensor_v2\n(" + storage + shape + b"Rs."


@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride", "message"),
    [
        (4, 1, 3, 1, ""),
        (4, 2, 3, 1, "outside its storage"),
        (4, 0, 3, 2, "outside its storage"),
        (4, 0, 200, 0, "larger than its storage"),
        (5, 0, 4, 1, "16 bytes instead of 20"),
        (3, 0, 3, 1, "larger than announced"),
    ],
)
def test_tensors_stay_inside_their_storage(
    numel: int, offset: int, size: int, stride: int, message: str, tmp_path: Path
) -> None:
    data = np.arange(4, dtype="<f4").tobytes()
    path = pack(tmp_path / "a.th", tensor_pickle(numel, offset, size, stride), {"data/0": data})
    if message:
        with pytest.raises(StreamsepError, match=message):
            read_package(path)
    else:
        assert read_package(path)["t"].tolist() == [1.0, 2.0, 3.0]


def test_damaged_archives_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.th"
    torch.save({"a": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for content in (whole[:-200], whole[:100], b"", b"\x00" * 500, whole[:800] + b"\x55" * 400 + whole[1200:]):
        path.write_bytes(content)
        with pytest.raises(StreamsepError, match=r"a\.th"):
            read_package(path)
    with pytest.raises(StreamsepError, match="compressed"):
        read_package(pack(path, pickle.dumps({}), kind=zipfile.ZIP_DEFLATED))
    with pytest.raises(StreamsepError, match="big-endian"):
        read_package(pack(path, pickle.dumps({}), {"byteorder": b"big"}))
    with pytest.raises(StreamsepError, match="no such file"):
        read_package(tmp_path / "absent.th")
