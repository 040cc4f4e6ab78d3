import sys
import types

import pytest


@pytest.fixture
def torch_modules(monkeypatch):
    """Modules and classes with the names that PyTorch's pickles have."""

    def add(module, *names):
        parts = module.split(".")
        for number in range(1, len(parts) + 1):
            name = ".".join(parts[:number])
            if name not in sys.modules or name == module:
                monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        kinds = [type(name, (), {"__module__": module}) for name in names]
        for kind in kinds:
            setattr(sys.modules[module], kind.__name__, kind)
        return kinds

    return add
