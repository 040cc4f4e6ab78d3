"""Frozen records: dataclasses whose methods are shared instead of compiled for each class.

Up to Python 3.12 `dataclasses` compiles six functions for a frozen class, 1 ms each class (measured
with 3.11): more than half of the time that the hook took to start. A shared method is slower per
instance (2 µs), and the package makes few of them. `replace`, `fields` and `asdict` of the standard
library work as for any dataclass.
"""

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose fields are given by name.

    Equality and hash are those of `@dataclass(frozen=True, kw_only=True)`; so are `default`,
    `default_factory` and `compare` of a field, and `__post_init__`.
    """
    dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
    methods = {
        "__init__": _initializer(cls),
        "__eq__": _equality(cls),
        "__hash__": _hash(cls),
        "__repr__": _repr,
        "__setattr__": _refuse_change,
        "__delattr__": _refuse_change,
    }
    for name, method in methods.items():
        if name not in vars(cls) or vars(cls)[name] is None:
            setattr(cls, name, method)
    return cls


def _initializer(cls: type) -> Callable[..., None]:
    known = fields(cls)
    names = frozenset(each.name for each in known)
    defaults = {each.name: each.default for each in known if each.default is not MISSING}
    makers = [
        (each.name, each.default_factory) for each in known if each.default_factory is not MISSING
    ]
    check: Callable[[Any], None] | None = getattr(cls, "__post_init__", None)

    def __init__(self: Any, /, **given: Any) -> None:  # noqa: N807 - it becomes that method
        values = {**defaults, **given}
        for name, make in makers:
            if name not in given:
                values[name] = make()
        if values.keys() != names:
            raise TypeError(_difference(cls, names, values))
        vars(self).update(values)
        if check is not None:
            check(self)

    return __init__


def _difference(cls: type, names: frozenset[str], values: dict[str, Any]) -> str:
    missing, unknown = sorted(names - values.keys()), sorted(values.keys() - names)
    parts = [
        f"{what} {', '.join(which)}"
        for what, which in (("missing", missing), ("unknown", unknown))
        if which
    ]
    return f"{cls.__name__}: {'; '.join(parts)}"


def _compared(cls: type) -> Callable[[Any], Any]:
    names = [each.name for each in fields(cls) if each.compare]
    return attrgetter(*names) if names else lambda _: ()


def _equality(cls: type) -> Callable[[Any, object], bool]:
    values = _compared(cls)

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self) == values(other))

    return __eq__


def _hash(cls: type) -> Callable[[Any], int]:
    values = _compared(cls)

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __hash__


def _repr(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
    return f"{type(self).__qualname__}({shown})"


def _refuse_change(self: Any, name: str, *_value: object) -> None:
    raise FrozenInstanceError(f"{type(self).__name__}.{name}: a frozen record cannot be changed")
