import signal
from pathlib import Path

import numpy as np
import pytest

from countermeasure import cli


def pytest_configure():
    """Have the scripts that tests start hear Ctrl-C and hang-ups, though the tests may run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    cli.parser(None).parse_args([])  # messages are shown as scripts show them


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="all tries of the fault suite, all recordings of ../shared")


@pytest.fixture(scope="session")
def is_long(request):
    return request.config.getoption("--long")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real recordings and score files beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real recordings of ../shared/data, which are not here")
    return folder
