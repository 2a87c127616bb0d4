"""The places where things go wrong, and the report at the end."""

import pytest

from faults.launcher import Launcher
from faults.samples import make_samples

TRIED = pytest.StashKey[dict[str, dict[str, int]]]()


@pytest.fixture(scope="session")
def tally(request):
    """A function that counts what was tried, by kind and outcome, for the report."""
    counts = request.config.stash.setdefault(TRIED, {})

    def count(kind, outcome, n=1):
        by_outcome = counts.setdefault(kind, {})
        by_outcome[outcome] = by_outcome.get(outcome, 0) + n

    return count


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """A folder with a good file of each kind."""
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def launcher():
    with Launcher() as launcher:
        yield launcher


@pytest.fixture(scope="session")
def other_launcher():
    """A second one, for runs at the same time."""
    with Launcher() as launcher:
        yield launcher


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash.get(TRIED, {})
    if not counts:
        return
    terminalreporter.section("faults: tried and survived")
    lost = total = 0
    for kind, by_outcome in sorted(counts.items()):
        n = sum(by_outcome.values())
        total, lost = total + n, lost + by_outcome.get("LOST", 0)
        told = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(by_outcome.items()))
        terminalreporter.write_line(f"{kind:32} {n:7,} tried: {told}")
    terminalreporter.write_line(f"{'all':32} {total:7,} tried, {total - lost:,} survived, {lost:,} lost")
