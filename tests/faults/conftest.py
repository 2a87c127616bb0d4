"""The folder where things go wrong, and the launcher of scripts."""

import pytest

from faults import writers
from faults.launcher import Launcher


@pytest.fixture(scope="session")
def launcher():
    with Launcher() as launcher:
        yield launcher


@pytest.fixture(scope="session")
def workplace(tmp_path_factory, launcher):
    """A folder with a good file of every kind, made by the scripts themselves."""
    folder = tmp_path_factory.mktemp("faults") / "work"
    folder.mkdir()
    writers.prepare(folder, launcher)
    return folder
