"""Clusters for the tests in this folder: one a module, whole again before every test."""

import shutil
from collections.abc import Iterator

import pytest

from contrib.testing.dev_cluster import missing
from contrib.testing.managed_cluster import ManagedCluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why these tests cannot run here, where they cannot."""
    reason = missing()
    for item in items:
        if "tests/cluster" in str(item.path):
            item.add_marker(pytest.mark.cluster)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    """Keyword arguments of this module's cluster; a module may override it."""
    return {}


@pytest.fixture(scope="module")
def _booted(cluster_options: dict[str, object]) -> Iterator[ManagedCluster]:
    with ManagedCluster(**cluster_options) as cluster:  # type: ignore[arg-type]
        yield cluster


@pytest.fixture
def cluster(_booted: ManagedCluster) -> Iterator[ManagedCluster]:
    """A whole cluster with an empty work directory."""
    _booted.environment["CSX_EXAMPLE_STEP_SECONDS"] = "0.05"
    yield _booted
    _booted.environment.pop("CSX_EXAMPLE_FAIL", None)
    _booted.heal()
    for path in _booted.work.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
