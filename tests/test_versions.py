import importlib.metadata

import numpy as np

from countermeasure import versions


def test_only_format_and_features_are_compared():
    now = versions.current()
    assert versions.differences({**now, "numpy": "1.22.0", "countermeasure": "0.1"}, now) == []
    assert versions.differences({}, now) == []  # written before there were any
    assert versions.differences({**now, "features": "7"}, now) == [f"features 7, now {versions.FEATURES}"]


def test_versions_of_installed_libraries_are_recorded(monkeypatch):
    find = importlib.metadata.version

    def without_spafe(name):
        if name == "spafe":
            raise importlib.metadata.PackageNotFoundError(name)
        return find(name)

    now = versions.current()
    assert (now["numpy"], now["spafe"]) == (np.__version__, find("spafe"))
    monkeypatch.setattr(importlib.metadata, "version", without_spafe)
    assert versions.current() == {name: each for name, each in now.items() if name != "spafe"}
