import numpy as np
import scipy

from countermeasure import versions


def test_only_format_and_features_are_compared():
    now = versions.current()
    assert versions.differences({**now, "numpy": "1.22.0", "countermeasure": "0.1", "spafe": "0.3.2"}, now) == []
    assert versions.differences({}, now) == []  # written before there were any
    assert versions.differences({**now, "features": "7"}, now) == [f"features 7, now {versions.FEATURES}"]


def test_versions_of_the_libraries_that_compute_are_recorded():
    now = versions.current()
    assert (now["numpy"], now["scipy"]) == (np.__version__, scipy.__version__)
    assert "spafe" not in now  # installed or not: only tests compute with it
