"""The directory that stands for `/`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def top() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="csx-install-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
