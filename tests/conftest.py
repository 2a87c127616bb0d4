import contextlib
import io
import signal
from pathlib import Path

import numpy as np
import pytest

import corpus
import gmm_run
import trainings
from countermeasure import cli
from countermeasure.stages import training


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


@pytest.fixture(scope="session")
def items():
    """Recordings to train on, see `trainings.make_items`."""
    return trainings.make_items()


@pytest.fixture(scope="session")
def data(items, tmp_path_factory):
    """A feature list of `items`."""
    return trainings.write_list(tmp_path_factory.mktemp("data") / "train-mfcc.pkl", items)


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    """Models of the list, with the settings `trainings.SMALL`, and the history of their passes."""
    folder = tmp_path_factory.mktemp("models")
    training.train(data, folder, trainings.SMALL, log=folder / "logs" / "history.csv")
    return folder


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    """All three pipelines, run on the small corpus: ``folder``, which tests leave as it is, and what they said."""
    made = Chain(tmp_path_factory.mktemp("chain"))
    corpus.make(made.folder / "LA")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        for name, value in SMALL.items():
            patch.setenv(name, value)
        for name in ("preprocess", "train", "test"):
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
                assert gmm_run.main([name, "silence", "mfcc", "lfcc"]) == 0
            made.out[name], made.err[name] = out.getvalue(), err.getvalue()
    return made


# An environment in which training takes no time.
SMALL = {
    "JOBS": "1",
    **{
        f"{step}_OPTIONS": f"--n_components {n} --max_iter 3"
        for step, n in (("TRAIN", 4), ("ENSEMBLE", 3), ("FILELEVEL", 2))
    },
}


class Chain:
    """What the pipelines made in a folder and said, by their names."""

    def __init__(self, folder):
        self.folder, self.out, self.err = folder, {}, {}
