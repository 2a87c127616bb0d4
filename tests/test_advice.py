"""The sentences of score_eval.py --dev: each of their cases, from score files with their records."""

from dataclasses import replace

import numpy as np
import pytest

from countermeasure.evaluation import advice
from countermeasure.evaluation.study import run_study
from countermeasure.trials.score_files import (
    ModelsRecord,
    ScoreRecord,
    read_cm_scores,
    write_record,
    write_scores,
)

BASES = ("lfcc", "mfcc")
FRAME_LEVEL = [f"{name}-{side}" for name in BASES for side in ("bon", "sp")]
FILE_LEVEL = [f"ensemble-{side}-filelevel" for side in ("bon", "sp")]


@pytest.fixture
def told(tmp_path):
    """Return a function that gives the sentences on systems of given errors, inputs and models."""
    n, seen = 400, np.random.default_rng(3)
    noise = seen.normal(size=2 * n)

    def sentences(**systems):
        files = {}
        for name, (distance, inputs, models) in systems.items():
            name = name.replace("_", "-")
            files[name] = tmp_path / f"{name}-dev.txt"
            lines = [f"S{i % 40:03d} U{i:04d} - {'- bonafide' if i < n else 'A01 spoof'}" for i in range(2 * n)]
            own = np.random.default_rng(len(name)).normal(size=2 * n)
            scores = 0.8 * noise + 0.6 * own + np.where(np.arange(2 * n) < n, distance, 0)
            digest = write_scores(files[name], lines, scores)
            write_record(files[name], ScoreRecord(digest, "0" * 64, "dev", inputs, models))
        return told_of(files)

    return sentences


def told_of(files):
    """Return the sentences on the systems of score files."""
    study = run_study({name: read_cm_scores(path) for name, path in files.items()}, with_intervals=True)
    sentences = advice.summary(replace(study, dev=study))
    end = next(k for k, each in enumerate(sentences) if "the lowest EER of" in each or "different trials, so" in each)
    return sentences[:end]


def mixture(kind, n_components, n_rows):
    return ModelsRecord("gmm", kind, [n_components] * 2, [n_rows, 2 * n_rows])


BASE = mixture("features", 512, 10**6)
FUSION = mixture("frame scores", 64, 10**6)
LOGISTIC = ModelsRecord("logistic", "frame scores", [1, 1], [120, 280])


def systems(distance, models=FUSION):
    return {"lfcc": (1.5, ["lfcc"], BASE), "mfcc": (2.0, ["mfcc"], BASE), "ensemble": (distance, FRAME_LEVEL, models)}


def test_base_models_have_no_sentence(told):
    assert told(lfcc=(1.5, ["lfcc"], BASE), mfcc=(2.0, ["mfcc"], BASE)) == []


def test_a_better_fusion_is_to_be_used(told):
    (sentence,) = told(**systems(3.5))
    assert sentence.startswith("ensemble: better than its best member mfcc on dev, its EER is ")
    assert " points lower (95 % interval over speakers -" in sentence
    assert sentence.endswith("). Use it.")


def test_a_fusion_that_may_be_better_by_chance(told):
    (sentence,) = told(**systems(2.4))
    assert sentence.startswith("ensemble: perhaps better than its best member mfcc on dev")
    assert sentence.endswith("Either will do; mfcc alone is simpler.")


@pytest.mark.parametrize(
    ("models", "advised"),
    [
        (FUSION, "). Use mfcc alone, or fuse with --method logistic."),
        (LOGISTIC, "). Use mfcc alone."),
        (None, "). Use mfcc alone."),
    ],
)
def test_a_worse_fusion_is_not_to_be_used(told, models, advised):
    (sentence,) = told(**systems(1.0, models))
    assert sentence.startswith("ensemble: worse than its best member mfcc on dev, its EER is ")
    assert sentence.endswith(advised)


def test_a_fusion_of_the_same_errors_is_as_good(told):
    files = systems(2.0)
    files["fuse"] = files.pop("ensemble")  # the noise depends on the length of a name
    (sentence,) = told(**files)
    assert sentence == "fuse: as good as its best member mfcc on dev. Use mfcc alone, or fuse with --method logistic."


@pytest.mark.parametrize(
    ("n_components", "n_rows", "advised"),
    [
        (60, 120, "Too few files for a file-level mixture: 120 rows for 60 components. Use mfcc alone, or fuse"),
        (1, 60, "Too few files for a file-level mixture: 60 rows for 1 component. Use mfcc alone, or fuse"),
        (1, 100, "). Use mfcc alone, or fuse"),
    ],
)
def test_a_file_level_fusion_is_compared_with_its_members_members_too(told, n_components, n_rows, advised):
    models = mixture("file scores", n_components, n_rows)
    found = told(**systems(1.2), filelevel=(0.5, [*FILE_LEVEL, "silence"], models))
    assert len(found) == 2
    assert found[1].startswith("filelevel: worse than its best member mfcc on dev")
    assert advised in found[1]


def test_a_fusion_that_has_the_name_of_a_member_is_not_its_own_member(told):
    files = systems(3.0)
    files["lfcc"] = files.pop("ensemble")
    (sentence,) = told(**files)
    assert sentence.startswith("lfcc: better than its best member mfcc on dev")


def test_files_that_are_not_of_the_same_trials_are_not_compared(told, tmp_path):
    files = systems(3.0)
    told(**files)
    path = tmp_path / "ensemble-dev.txt"
    lines = path.read_text().splitlines(keepends=True)
    digest = write_scores(path, [line.rsplit(" ", 1)[0] for line in lines[1:]], [1.0] * (len(lines) - 1))
    write_record(path, ScoreRecord(digest, "0" * 64, "dev", FRAME_LEVEL, FUSION))
    assert told_of({name: tmp_path / f"{name}-dev.txt" for name in ("lfcc", "mfcc", "ensemble")}) == [
        "ensemble is not compared with its members: their files have different trials."
    ]


def test_systems_of_equal_eer_are_named_together(tmp_path):
    lines = [f"S{i:02d} U{i:02d} - {'- bonafide' if i < 20 else 'A01 spoof'}" for i in range(40)]
    scores = np.r_[np.arange(20.0), np.arange(-16.0, 4.0)]
    files = {name: tmp_path / f"{name}.txt" for name in ("one", "two", "worse")}
    for name, factor in (("one", 1), ("two", 2), ("worse", -1)):
        write_scores(files[name], lines, factor * scores)
    study = run_study({name: read_cm_scores(path) for name, path in files.items()}, with_intervals=True)
    assert any(each.startswith("one and two have the lowest EER of 3 systems: ") for each in advice.summary(study))
