"""Strict configuration: nothing unknown, misspelt or of the wrong type gets through."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from streamsep.config import from_dict, load_yaml, read_whole, read_yaml, to_dict
from streamsep.errors import StreamsepError


@dataclass(frozen=True)
class Inner:
    size: int
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size is negative")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=lambda: Inner(1))
    flag: bool = False
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] = (1, "a")
    parts: list[Inner] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    limit: int | None = None
    either: int | str = 0
    nested: Inner | None = None
    anything: Any = None


FULL: dict[str, Any] = {
    "name": "n",
    "inner": {"size": 3, "rate": 2},
    "flag": True,
    "sizes": [4, 5, 6],
    "pair": [7, "b"],
    "parts": [{"size": 8}, {"size": 9, "rate": 0.5}],
    "table": {"x": 1},
    "limit": 5,
    "either": "text",
    "nested": {"size": 2},
    "anything": {"free": [1, "x"]},
}


def test_every_kind_of_field_is_read() -> None:
    config = from_dict(Outer, FULL)
    assert config == Outer(
        name="n",
        inner=Inner(3, 2.0),
        flag=True,
        sizes=(4, 5, 6),
        pair=(7, "b"),
        parts=[Inner(8), Inner(9, 0.5)],
        table={"x": 1},
        limit=5,
        either="text",
        nested=Inner(2),
        anything={"free": [1, "x"]},
    )
    assert isinstance(config.inner.rate, float)


def test_what_is_left_out_takes_its_default() -> None:
    assert from_dict(Outer, {"name": "n"}) == Outer("n")
    assert from_dict(Outer, {"name": "n", "limit": None, "nested": None, "sizes": []}) == Outer("n", sizes=())


def test_plain_data_comes_back_as_it_went_in() -> None:
    config = from_dict(Outer, FULL)
    assert from_dict(Outer, to_dict(config)) == config
    assert to_dict(config)["sizes"] == [4, 5, 6] and to_dict(config)["inner"] == {"size": 3, "rate": 2.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "n"}, "Outer: unknown key 'nmae'; known keys are anything, either, flag"),
        ({"inner": {"size": 1, "depth": 2}}, "Outer: inner: unknown key 'depth'; known keys are rate, size"),
        ({"parts": [{"size": 1, "depth": 2}]}, "parts: unknown key 'depth'"),
        ({"name": 3}, "Outer: name: expected str, got 3"),
        ({"name": None}, "Outer: name: expected str, got None"),
        ({"flag": 1}, "Outer: flag: expected bool, got 1"),
        ({"flag": "yes"}, "Outer: flag: expected bool, got 'yes'"),
        ({"limit": True}, "Outer: limit: expected int, got True"),
        ({"limit": 1.0}, "Outer: limit: expected int, got 1.0"),
        ({"inner": {"size": True}}, "Outer: inner: size: expected int, got True"),
        ({"inner": {"size": 1, "rate": True}}, "rate: expected float, got True"),
        ({"inner": {"size": 1, "rate": "1.5"}}, "rate: expected float, got '1.5'"),
        ({"inner": {"size": 1, "rate": 10**400}}, "Outer: inner: rate: the number is too large"),
        ({"inner": {}}, "Outer: inner: missing key 'size'"),
        ({"inner": None}, "Outer: inner: expected a mapping, got None"),
        ({"inner": [1]}, r"Outer: inner: expected a mapping, got \[1\]"),
        ({"inner": {"size": -1}}, "Outer: inner: size is negative"),
        ({"sizes": 3}, "Outer: sizes: expected a list, got 3"),
        ({"sizes": [1, "2"]}, "Outer: sizes: expected int, got '2'"),
        ({"sizes": "12"}, "Outer: sizes: expected a list, got '12'"),
        ({"pair": [1]}, "Outer: pair: expected 2 values, got 1"),
        ({"pair": ["a", 1]}, "Outer: pair: expected int, got 'a'"),
        ({"table": {"x": "1"}}, "Outer: table.x: expected int, got '1'"),
        ({"table": [1]}, r"Outer: table: expected dict, got \[1\]"),
        ({"either": []}, r"Outer: either: expected int, got \[\]"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        from_dict(Outer, {"name": "n", **change})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(StreamsepError, match="Outer: missing key 'name'"):
        from_dict(Outer, {})


def test_yaml_files_are_read_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: ü\ninner: {size: 2}\n", encoding="utf-8")
    assert load_yaml(Outer, path) == Outer("ü", Inner(2))
    path.write_text("name: n\nsise: 2\n")
    with pytest.raises(StreamsepError, match=r"a\.yaml: unknown key 'sise'"):
        load_yaml(Outer, path)


def test_a_file_that_is_like_another_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text("name: n\ninner: {size: 2}\nplain: [1, 2]\nboth: {a: 1, b: {c: 2}}\n")
    (tmp_path / "deep" / "next.yaml").write_text("like: ../base.yaml\nplain: [3]\nboth: {b: {d: 3}}\n")
    (tmp_path / "last.yaml").write_text("like: deep/next.yaml\ninner: null\nboth: {b: {c: 4}}\n")
    expected = {"name": "n", "inner": None, "plain": [3], "both": {"a": 1, "b": {"c": 4, "d": 3}}}
    assert read_whole(tmp_path / "last.yaml") == expected
    (tmp_path / "outer.yaml").write_text("like: base2.yaml\nname: m\n")
    (tmp_path / "base2.yaml").write_text("name: n\ninner: {size: 2}\n")
    assert load_yaml(Outer, tmp_path / "outer.yaml") == Outer("m", Inner(2))


def test_files_like_each_other_in_a_circle_and_missing_ones_are_refused(tmp_path: Path) -> None:
    for name, like in (("a", "b.yaml"), ("b", "c.yaml"), ("c", "a.yaml"), ("self", "self.yaml"), ("lost", "none.yaml")):
        (tmp_path / f"{name}.yaml").write_text(f"like: {like}\n")
    for name in ("a", "self"):
        with pytest.raises(StreamsepError, match="is like itself; break the circle"):
            load_yaml(Outer, tmp_path / f"{name}.yaml")
    lost = r"cannot read the configuration .*none\.yaml: No such file or directory; correct its path"
    with pytest.raises(StreamsepError, match=lost):
        load_yaml(Outer, tmp_path / "lost.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [1", r"a\.yaml is not valid YAML"),
        (b"- 1\n- 2\n", "must hold a mapping"),
        (b"just text", "must hold a mapping"),
        (b"0\n", "must hold a mapping"),
        (b"[]\n", "must hold a mapping"),
        (b"\xff\xfe\x00", "cannot read the configuration"),
        (b"x: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        (b"name: a\nname: b\n", "name"),
        (b"name: 2024-02-30\n", r"a date, time, number or tag in .*a\.yaml is none \(day is out of range"),
        (b"name: 2024-01-01 25:61:00\n", r"is none \(hour must be in"),
        (b"name: !!int word\n", "is none .* correct it, or put text in quotes"),
        (b"name: !!int ''\n", "correct it"),
        (b"name: !!bool word\n", "correct it"),
        (b"name: !!timestamp word\n", "correct it"),
        (b"name: !!map [1]\n", r"a\.yaml"),
        (b"name: " + 5000 * b"[", r"a\.yaml is nested too deeply; flatten it"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(StreamsepError, match=message) as error:
        read_yaml(path)
    assert "\n" not in str(error.value)


def test_names_that_no_file_can_have_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('like: "a\\0b"\n')
    with pytest.raises(StreamsepError, match=r"a\.yaml is like 'a\\x00b', which is no name"):
        read_whole(tmp_path / "a.yaml")
    with pytest.raises(StreamsepError, match="cannot read the configuration"):
        read_yaml("a\0b.yaml")


def test_numbers_may_be_written_as_the_flags_take_them(tmp_path: Path) -> None:
    """Also those that YAML 1.1 takes for text."""
    for text, number in {"inf": math.inf, "-inf": -math.inf, "1e-3": 0.001, "-.5E2": -50.0, "2.e+3": 2000.0}.items():
        (tmp_path / "a.yaml").write_text(f"size: 1\nrate: {text}\n")
        assert from_dict(Inner, read_yaml(tmp_path / "a.yaml")).rate == number
    for text in ("nan", "infinite", "1", "1e", "e3", "1e-3 s", "1_0e2"):
        with pytest.raises(StreamsepError, match="rate: expected float"):
            from_dict(Inner, {"size": 1, "rate": text})


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    assert read_yaml(tmp_path / "a.yaml") == {}
    with pytest.raises(StreamsepError, match="cannot read the configuration"):
        read_yaml(tmp_path / "b.yaml")


def test_configurations_lie_beside_the_checkout_and_inside_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamsep import config

    monkeypatch.setattr(config, "__file__", str(tmp_path / "streamsep" / "config.py"))
    assert config.config_folder("live") == tmp_path / "configs" / "live"
    (tmp_path / "streamsep" / "configs").mkdir(parents=True)
    assert config.config_folder("live") == tmp_path / "streamsep" / "configs" / "live"


def test_one_of_a_few_words() -> None:
    @dataclass(frozen=True)
    class Choice:
        word: Literal["low", "high"] | float

    assert from_dict(Choice, {"word": "high"}).word == "high"
    assert from_dict(Choice, {"word": 2}).word == 2.0
    with pytest.raises(StreamsepError, match="word: expected low or high, got 'lowest'"):
        from_dict(Choice, {"word": "lowest"})
