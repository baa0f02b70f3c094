"""YAML and key=value to dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from asr.config import from_mapping, load_config
from asr.recipe import save_config
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 1e-3
    layers: tuple[int, ...] = ()
    mode: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    path: Path
    inner: Inner = field(default_factory=Inner)
    name: str | None = None
    on: bool = False
    span: tuple[float, str] = (0.0, "")
    label: str = "a"
    shares: dict[str, float] = field(default_factory=dict)


def test_overrides_come_after_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("path: x\ninner: {rate: 2e-4}\n")
    config = load_config(Outer, tmp_path / "c.yaml", ["inner.layers=[1, 2]", "on=true", "span=[1, s]"])
    assert config == Outer(path=Path("x"), inner=Inner(rate=2e-4, layers=(1, 2)), on=True, span=(1.0, "s"))
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(Outer, tmp_path / "saved.yaml") == config


def test_numbers_of_numpy_are_numbers() -> None:
    config = from_mapping(
        Outer,
        {
            "path": "x",
            "on": np.bool_(True),
            "span": [np.float32(0.5), "s"],
            "inner": {"layers": list(np.arange(2)), "rate": np.int64(3)},
        },
    )
    assert (config.on, config.span, config.inner) == (True, (0.5, "s"), Inner(layers=(0, 1), rate=3.0))
    assert [type(each) for each in (config.on, config.span[0], config.inner.layers[1])] == [bool, float, int]
    with pytest.raises(InputError, match=r"on is 1\. Give true or false"):
        from_mapping(Outer, {"path": "x", "on": np.int64(1)})


def test_an_override_without_a_value_empties_a_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("path: x\nname: n\nlabel: b\n")
    config = load_config(Outer, tmp_path / "c.yaml", ["label=", "name="])
    assert (config.label, config.name) == ("", None)
    with pytest.raises(InputError, match=r"path is None\. Give a path"):
        load_config(Outer, tmp_path / "c.yaml", ["path="])


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("path: ~/y\nname: ~/z\n")
    config = load_config(Outer, tmp_path / "c.yaml")
    assert (config.path, config.name) == (tmp_path / "y", "~/z")
    assert load_config(Outer, tmp_path / "c.yaml", ["path=~/x"]).path == tmp_path / "x"
    assert load_config(Outer, tmp_path / "c.yaml", ["path=~$x"]).path == Path("~$x")


@dataclass(frozen=True, kw_only=True)
class Middle:
    inner: Inner = field(default_factory=lambda: Inner(mode="b", rate=2.0))
    number: int = 3


@dataclass(frozen=True, kw_only=True)
class Outermost:
    middle: Middle = field(default_factory=lambda: Middle(inner=Inner(layers=(7,), rate=4.0), number=5))
    second: Inner | None = field(default_factory=lambda: Inner(rate=3.0))


def test_what_a_group_leaves_unsaid_is_the_default_of_its_field() -> None:
    assert from_mapping(Middle, {"inner": {"layers": [1]}}).inner == Inner(mode="b", rate=2.0, layers=(1,))
    found = from_mapping(Outermost, {"middle": {"inner": {"mode": "b"}}, "second": {"mode": "b"}})
    assert found.middle == Middle(inner=Inner(mode="b", layers=(7,), rate=4.0), number=5)
    assert found.second == Inner(rate=3.0, mode="b")
    assert from_mapping(Outermost, {"second": None}).second is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": "x", "iner": {}}, "unknown key iner. Did you mean inner"),
        ({"path": "x", "inner": {"rat": 1}}, r"unknown key inner.rat. Did you mean inner.rate"),
        ({}, "path is missing"),
        ({"path": "x", "inner": {"rate": "fast"}}, "inner.rate is 'fast'. Give a number"),
        ({"path": "x", "inner": {"mode": "c"}}, "inner.mode is 'c'. Give one of a, b"),
        ({"path": "x", "on": 1}, "on is 1. Give true or false"),
        ({"path": "x", "inner": 3}, "Give a group of settings"),
        ({"path": "x", "inner": {"layers": 3}}, "Give a list"),
        ({"path": "x", "span": [1.0]}, r"span is \[1.0\]. Give 2 values"),
        ({"path": "x", "shares": {False: 1.0}}, "has the name False, .* Write it in quotes"),
    ],
)
def test_mistakes_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_mapping(Outer, values)


def test_an_equals_sign_is_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("path: x\nlabel: =\n")
    assert load_config(Outer, tmp_path / "c.yaml", ["name=="]) == Outer(path=Path("x"), label="=", name="=")
    with pytest.raises(InputError, match=r"the value is not YAML\. Put it in quotes"):
        load_config(Outer, tmp_path / "c.yaml", ["name=`"])


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_config(Outer, tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(InputError, match="not YAML"):
        load_config(Outer, tmp_path / "bad.yaml")
    (tmp_path / "good.yaml").write_text("path: x")
    with pytest.raises(InputError, match="has no '='"):
        load_config(Outer, tmp_path / "good.yaml", ["on"])
