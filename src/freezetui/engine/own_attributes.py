"""Finds which attributes a class's own code sets and reads on `self`."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from inspect import unwrap
from types import CodeType, FunctionType
from typing import NamedTuple

from torch import nn


@lru_cache(maxsize=4096)
def own_options(cls: type) -> frozenset[str]:
    """Return the attributes that the class reads on `self`, or sets on it from a variable, and properties."""
    reads = {access.name for access in _accesses(cls) if access.own and (access.read or not access.constant)}
    return frozenset(reads | _properties(cls))


@lru_cache(maxsize=4096)
def made_by_itself(cls: type) -> frozenset[str]:
    """Return the attributes that the class sets on `self`, from whatever."""
    return frozenset(access.name for access in _accesses(cls) if access.own)


@lru_cache(maxsize=4096)
def read_on_others(cls: type) -> frozenset[str]:
    """Return the attributes that the class reads on something other than `self`."""
    return frozenset(access.name for access in _accesses(cls) if access.read and not access.own)


class _Access(NamedTuple):
    """One attribute that a method reads or sets.

    Attributes:
        own: whether on `self`; constant: whether what is set is written in the code itself.
    """

    name: str
    read: bool
    own: bool
    constant: bool


@lru_cache(maxsize=4096)
def _accesses(cls: type) -> tuple[_Access, ...]:
    return tuple(access for owner, code in _codes(cls) for access in _accesses_in(owner, code))


def _accesses_in(owner: str, code: CodeType) -> Iterator[_Access]:
    last: list[tuple[str, object]] = [("", None), ("", None)]
    for instruction in dis.get_instructions(code):
        read = instruction.opname in ("LOAD_ATTR", "LOAD_METHOD")
        if read or instruction.opname == "STORE_ATTR":
            own = last[-1][1] == owner
            yield _Access(str(instruction.argval), read, own, last[-2][0] == "LOAD_CONST")
        # Newer Pythons load two names in one instruction.
        names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        last += [(instruction.opname, name) for name in names]


def _codes(cls: type) -> Iterator[tuple[str, CodeType]]:
    """Yield what every method below nn.Module calls `self`, and its code and that of the functions in it."""
    for value in _members(cls):
        function = unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))  # type: ignore[arg-type]
        if isinstance(function, FunctionType):
            owner = next(iter(function.__code__.co_varnames), "")
            yield from ((owner, code) for code in _inside(function.__code__))


def _inside(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _inside(constant)


def _properties(cls: type) -> set[str]:
    bases = (base for base in cls.__mro__ if base not in (nn.Module, object))
    return {name for base in bases for name, value in vars(base).items() if isinstance(value, property)}


def _members(cls: type) -> Iterator[object]:
    for base in cls.__mro__:
        if base not in (nn.Module, object):
            yield from vars(base).values()
