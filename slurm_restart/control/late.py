"""Put off an import that is hardly ever needed; for the hook, which counts milliseconds."""

import sys
from types import ModuleType
from typing import Any


class _Late(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), name)


def put_off(name: str) -> None:
    """Import a top-level module of the standard library only when it is used."""
    if name not in sys.modules:
        sys.modules[name] = _Late(name)
