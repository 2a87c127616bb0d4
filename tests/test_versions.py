import importlib.metadata

import numpy as np

import corpus
import gmm_data_processing
from countermeasure import versions
from countermeasure.lists import provenance


def test_only_format_and_features_are_compared():
    now = versions.current()
    assert versions.differences({**now, "numpy": "1.22.0", "countermeasure": "0.1"}, now) == []
    assert versions.differences({}, now) == []  # written before there were any
    assert versions.differences({**now, "features": "7"}, now) == [f"features 7, now {versions.FEATURES}"]


def test_versions_of_libraries_are_recorded():
    now = versions.current()
    assert now["numpy"] == np.__version__
    assert now["spafe"] == importlib.metadata.version("spafe")


def test_a_library_that_is_not_there_is_not_recorded(monkeypatch, tmp_path):
    find = importlib.metadata.version

    def without_spafe(name):
        if name == "spafe":
            raise importlib.metadata.PackageNotFoundError(name)
        return find(name)

    monkeypatch.setattr(importlib.metadata, "version", without_spafe)
    audio = corpus.make(tmp_path / "LA", 1) / "ASVspoof2019_LA_dev" / "flac"
    label_path = corpus.protocol(tmp_path / "LA", "dev")
    typed = f"--data_split dev --data_path {audio} --label_path {label_path} --output_path {tmp_path} --ftype lfcc"
    assert gmm_data_processing.main([*typed.split(), "--n_jobs", "1"]) == 0
    record = provenance.read(tmp_path / "dev-lfcc.pkl")
    assert record is not None
    assert set(record.versions) == {"format", "features", "countermeasure", "numpy"}
