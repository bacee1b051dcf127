"""A mapping -> a tree of frozen dataclasses, with every key and every type checked.

The dataclass is the schema: names, types and defaults stand there and nowhere else. A key that it
does not have is refused with the nearest that it has; an int does for a float, nothing else is
converted. Ranges are the business of each class's ``__post_init__``.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from groove.errors import SettingsError

Tree = TypeVar("Tree")


def from_mapping(tree: type[Tree], values: Mapping[str, Any]) -> Tree:
    """Build ``tree`` from nested mappings of plain values; what is absent keeps its default.

    Raises:
        SettingsError: an unknown key, a value of another type, or one that a class refuses.
    """
    built: Tree = _build(tree(), values, "", list(keys(tree)))
    return built


def keys(tree: type[Any], prefix: str = "") -> Iterator[str]:
    """Every key of a tree, dotted: "train.epochs"."""
    hints = get_type_hints(tree)
    for field in fields(tree):
        name = f"{prefix}{field.name}"
        if is_dataclass(hints[field.name]):
            yield from keys(hints[field.name], f"{name}.")
        else:
            yield name


def kinds(tree: type[Any], prefix: str = "") -> dict[str, Any]:
    """The type of every key of a tree, as it is annotated."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(tree).items():
        inner: Any = hint
        found |= kinds(inner, f"{prefix}{name}.") if is_dataclass(hint) else {prefix + name: hint}
    return found


def plain(value: Any) -> Any:
    """A tree as dicts, lists and scalars: what `from_mapping`, YAML and a checkpoint can hold."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def nearest(key: str, known: Sequence[str]) -> str:
    """The sentence that follows "no such setting": the likeliest key that was meant."""
    same_leaf = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    close = same_leaf or get_close_matches(key, known, n=1, cutoff=0.5)
    if not close:
        by_leaf = {name.rpartition(".")[2]: name for name in known}
        leaf = get_close_matches(key.rpartition(".")[2], list(by_leaf), n=1, cutoff=0.5)
        close = [by_leaf[leaf[0]]] if leaf else []
    return f"did you mean {close[0]}?" if close else "see configs/train.yaml for all of them"


def _build(tree: Any, values: Any, where: str, known: Sequence[str]) -> Any:
    """``tree``, an instance that holds the defaults, with ``values`` put in."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where}: got {values!r}; wanted settings below {where}")
    hints = get_type_hints(type(tree))
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in hints:
            raise SettingsError(f"{prefix}{key}: no such setting; {nearest(prefix + key, known)}")
    given = {}
    for name, value in values.items():
        hint, dotted = hints[name], f"{prefix}{name}"
        if is_dataclass(hint):
            given[name] = _build(getattr(tree, name), value, dotted, known)
        else:
            given[name] = _value(hint, value, dotted)
    return replace(tree, **given)


def _value(hint: Any, value: Any, where: str) -> Any:
    """``value`` as ``hint`` says, lists as tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = [a for a in arguments if a is not type(None)]
        if value is None and len(inner) < len(arguments):
            return None
        return _value(inner[0], value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise SettingsError(f"{where}: got {value!r}; wanted one of {', '.join(arguments)}")
    if origin is tuple:
        return _items(arguments, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise SettingsError(f"{where}: got {value!r}; wanted {_NAMES.get(hint, str(hint))}")


def _items(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise SettingsError(f"{where}: got {value!r}; wanted a list, as [a,b]")
    if len(arguments) == 2 and arguments[1] is ...:
        return tuple(_value(arguments[0], item, where) for item in value)
    if len(value) != len(arguments):
        raise SettingsError(f"{where}: got {len(value)} values; wanted {len(arguments)}")
    return tuple(_value(hint, item, where) for hint, item in zip(arguments, value, strict=True))


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
