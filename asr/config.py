"""From YAML and ``key=value`` to frozen dataclasses; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import yaml

from asr.names import given_path
from lm.errors import InputError

Config = TypeVar("Config")

WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


class _Loader(yaml.SafeLoader):
    """YAML's own, but a lone = is text."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def load_config(kind: type[Config], path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        kind: a dataclass; nested dataclasses are read from nested mappings.
        path: YAML file.
        overrides: ``key=value`` or ``outer.inner=value``, applied after the file; values are YAML.
    Raises:
        InputError: missing file, bad YAML, unknown key (the nearest known one is named), wrong type.
    """
    values = read_yaml(path)
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"override {override!r} has no '='. Write key=value.")
        inner = values
        *outer, last = name.split(".")
        for step in outer:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise InputError(f"override {override!r}: {step} is not a group of settings.")
        try:
            inner[last] = yaml.load(value, _Loader)
        except yaml.YAMLError as error:
            raise InputError(f"override {override!r}: the value is not YAML. Put it in quotes.") from error
    return from_mapping(kind, values)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A configuration as it is written.

    Raises:
        InputError: missing file, bad YAML, or no mapping.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader) or {}
    except OSError as error:
        raise InputError(f"configuration {path}: {error.strerror}. Give the path of a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"configuration {path} is not YAML: {' '.join(str(error).split())}. Put a text with signs in it in quotes."
        ) from error
    if not isinstance(values, dict):
        raise InputError(
            f"configuration {path} holds {type(values).__name__}, not a mapping. Write `key: value` lines."
        )
    return values


def from_mapping(
    kind: type[Config], values: dict[str, Any], where: str = "", *, usual: Config | None = None
) -> Config:
    """Make a dataclass of a mapping, checking names and types.

    Args:
        usual: what stands where the mapping says nothing; empty takes the class's own defaults. A nested group
            takes the default of the field that it stands in, which may differ from those of its class.
    Raises:
        InputError: an unknown key, a missing one, or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    known = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"Did you mean {where}{near[0]}?" if near else f"Known: {', '.join(known)}."
            raise InputError(f"configuration: unknown key {where}{name}. {hint}")
    missing = [
        name
        for name, item in known.items()
        if usual is None
        and name not in values
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(
            f"configuration: {where}{missing[0]} is missing. Add it to the YAML file or as {where}{missing[0]}=..."
        )
    given = {
        name: _convert(hints[name], value, where + name, _usual(known[name], usual))
        for name, value in values.items()
    }
    if usual is None:
        return kind(**given)
    laid_over: Config = dataclasses.replace(usual, **given)  # type: ignore[type-var]
    return laid_over


def as_json(value: Any) -> Any:
    """The value as a JSON file gives it back (tuples as lists), to be compared with what one holds."""
    return json.loads(json.dumps(value))


def to_mapping(config: Any) -> dict[str, Any]:
    """The configuration as plain YAML and JSON values, nested dataclasses included."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    values = plain(dataclasses.asdict(config))
    assert isinstance(values, dict)
    return values


def _usual(item: dataclasses.Field[Any], outer: Any) -> Any:
    """What a field holds where nothing is said; None where that is missing."""
    if outer is not None:
        return getattr(outer, item.name)
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return None if item.default is dataclasses.MISSING else item.default


def _convert(hint: Any, value: Any, where: str, usual: Any = None) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        for choice in choices[:-1]:
            try:
                return _convert(choice, value, where, usual)
            except InputError:
                continue
        return _convert(choices[-1], value, where, usual)
    if origin is Literal:
        if value not in get_args(hint):
            raise InputError(
                f"configuration: {where} is {value!r}. Give one of {', '.join(map(str, get_args(hint)))}."
            )
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"configuration: {where} is {value!r}. Give a list.")
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        elif len(value) != len(kinds):
            raise InputError(f"configuration: {where} is {value!r}. Give {len(kinds)} values.")
        return tuple(
            _convert(kind, item, f"{where}[{place}]")
            for place, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"configuration: {where} is {value!r}. Give a mapping.")
        if strange := [key for key in value if not isinstance(key, str)]:
            raise InputError(
                f"configuration: {where} has the name {strange[0]!r}, which YAML does not read as text. "
                "Write it in quotes, as 'no'."
            )
        return {key: _convert(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise InputError(f"configuration: {where} is {value!r}. Give a group of settings.")
        # The default of a field may be of another class than the one that is tried, where there are several.
        laid_under = usual if type(usual) is hint else None
        return from_mapping(typing.cast(type[Any], hint), value, where + ".", usual=laid_under)
    return _plain(hint, value, where)


def _plain(hint: type[Any], value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if hint is str and value is None:
        return ""  # ``key=`` empties a text, and YAML makes None of nothing
    if hint is Path and isinstance(value, str):
        return given_path(value)
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-4 as a string
        except ValueError:
            pass
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise InputError(f"configuration: {where} is {value!r}. Give {WANTED.get(hint, hint.__name__)}.")
