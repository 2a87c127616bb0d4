"""What scoring joins, refuses and leaves beside its files; the scores themselves: tests/test_scripts.py."""

import gc
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import corpus
from countermeasure import compute, files
from countermeasure.errors import InputError
from countermeasure.gmm import scores
from countermeasure.gmm.calibration import models_sha256
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, model_files, read_pair
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter, read_list
from countermeasure.lists.table import Table
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.stages import scoring, training
from countermeasure.stages.extraction import extract
from countermeasure.trials.lines import LABELS
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import ModelsRecord, read_cm_scores, read_record, write_scores
from tDCF_python import metrics
from trainings import write_list, write_model


def write_models(folder, n_dims=60, shift=0.0):
    for path, mean in zip(model_files(folder), (shift, shift + 1.0), strict=True):
        write_model(path, Model(Parameters(np.ones(1), np.full((1, n_dims), mean), np.ones((1, n_dims)))))
    return folder


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The list of a small corpus with its record, and its protocol."""
    folder = tmp_path_factory.mktemp("scoring")
    data_set = corpus.make(folder / "LA")
    audio = data_set / "ASVspoof2019_LA_dev" / "flac"
    extract("dev", audio, corpus.protocol(data_set, "dev"), folder / "data", ["mfcc"], n_jobs=1)
    return folder / "data" / "dev-mfcc.pkl", corpus.protocol(data_set, "dev")


@pytest.fixture
def place(lists, tmp_path):
    """A folder of its own, with copies of the list, of its record and of the protocol, and with models."""
    data, protocol = lists
    for path in (data, provenance.path_of(data)):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "protocol.txt").write_bytes(protocol.read_bytes())
    write_models(tmp_path / "model")
    return tmp_path


def score(place, **settings):
    names = {"data_path": place / "dev-mfcc.pkl", "label_path": place / "protocol.txt"}
    models = dict(zip(("model_path_bon", "model_path_sp"), model_files(place / "model"), strict=True))
    return scoring.score_list(**{**names, **models, "output_path": place / "scores.txt", "n_jobs": 1, **settings})


def fused(place):
    """Fill a folder with two columns, write models over them; return the folder."""
    for column in ("a", "b"):
        with ListWriter(place / "lists" / f"{column}-bon-dev.pkl") as out:
            for array, label in read_list(place / "dev-mfcc.pkl"):
                out.append(array[:, 0], label)
    write_models(place / "fusion", 2)
    return place / "lists"


@pytest.fixture
def no_work(monkeypatch):
    """Whatever would be scored, or opened for it, is a failure."""

    def fail(*arguments):
        pytest.fail("it went to work")

    monkeypatch.setattr(scoring, "score_items", fail)
    monkeypatch.setattr(scoring, "Table", fail)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_recordings_may_be_in_several_parts_and_parts_hold_several(place, rng, monkeypatch):
    """A part may begin with the rest of one recording and go on with the next."""
    monkeypatch.setattr(scores, "_ROWS_PER_TASK", 40)
    arrays = [rng.normal(size=(n, 60)).astype(np.float32) for n in (50, 7, 12, 90, 41, 3)]
    path = write_list(place / "list.pkl", [(array, "spoof") for array in arrays])
    with Table([path]) as table, compute.workers(1) as workers:
        found = list(scores.score_items(table, read_pair(*model_files(place / "model")), workers))
    for array, (bonafide, spoof) in zip(arrays, found, strict=True):
        for side, mean in ((bonafide, 0), (spoof, 1)):
            expected = -0.5 * ((array.astype(float) - mean) ** 2 + np.log(2 * np.pi)).sum(axis=1)
            np.testing.assert_allclose(side, expected, rtol=1e-5)


# -- the record beside a score file --------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [40, 16384])  # a recording in two parts, or several in one
def test_a_score_file_has_a_record_of_its_models(place, capsys, monkeypatch, n_rows):
    monkeypatch.setattr(scores, "_ROWS_PER_TASK", n_rows)
    score(place)
    path = place / "scores.txt"
    record = read_record(path, files.sha256(path))
    assert record.models_sha256 == models_sha256(place / "model")
    assert (record.split, record.inputs, record.models) == ("dev", ["mfcc"], None)
    frames = [array.astype(float) for array, _ in read_list(place / "dev-mfcc.pkl")]
    llrs = [np.mean((0.5 - x).sum(axis=1)) for x in frames]  # of N(0, 1) and N(1, 1)
    np.testing.assert_allclose(read_cm_scores(path).scores, llrs, atol=1e-4)
    # log N(x; mean, 1) over 60 dimensions, under the better of the two models
    log_likelihoods = [
        max(np.mean(-0.5 * ((x - mean) ** 2 + np.log(2 * np.pi)).sum(axis=1)) for mean in (0, 1)) for x in frames
    ]
    assert record.log_likelihoods == pytest.approx(np.quantile(log_likelihoods, [0.05, 0.5]), rel=1e-6)
    before = contents(place)
    capsys.readouterr()
    score(place)
    assert "nothing to do" in capsys.readouterr().err
    assert contents(place) == before
    os.symlink(path, place / "link.txt")
    assert read_record(place / "link.txt", files.sha256(path)) == record
    provenance.path_of(place / "dev-mfcc.pkl").unlink()
    write_models(place / "model", shift=0.5)
    score(place)
    record = read_record(path, files.sha256(path))
    assert record.models_sha256 == models_sha256(place / "model")
    assert (record.split, record.inputs) == (None, [])


@pytest.mark.parametrize("options", [TrainingOptions(n_components=2, max_iter=2), LogisticOptions()])
def test_the_scores_of_a_fusion_know_its_columns(place, options):
    scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "model", "mfcc", place / "lists", n_jobs=1)
    training.train_fusion(place / "lists" / "dev", place / "fusion", options, n_jobs=1)
    models = model_files(place / "fusion")
    scoring.score_fusion(place / "lists" / "dev", *models, place / "protocol.txt", place / "scores.txt", n_jobs=1)
    record = read_record(place / "scores.txt", files.sha256(place / "scores.txt"))
    assert record.models_sha256 == models_sha256(place / "fusion")
    assert (record.split, record.inputs) == ("dev", ["mfcc-bon", "mfcc-sp"])
    if isinstance(options, LogisticOptions):
        assert record.models == ModelsRecord("logistic", "frame scores", [1, 1], [6, 6])
    else:
        n_frames = [model.record.n_frames for model in read_pair(*models)]
        assert record.models == ModelsRecord("gmm", "frame scores", [2, 2], n_frames)


def test_a_record_that_a_killed_run_left_vouches_for_nothing(place):
    os.symlink(os.devnull, place / "nowhere")
    score(place, output_path=place / "nowhere")
    assert not provenance.path_of(place / "nowhere").exists()  # a device has no record
    score(place)
    old = provenance.path_of(place / "scores.txt").read_bytes()
    write_models(place / "model")
    trials = read_protocol(place / "protocol.txt")
    write_scores(place / "scores.txt", (trial.line for trial in trials), np.arange(len(trials)))  # and then it died
    assert provenance.path_of(place / "scores.txt").read_bytes() == old
    assert read_record(place / "scores.txt", files.sha256(place / "scores.txt")) is None


def test_the_record_is_of_the_models_that_scored_though_others_take_their_place(place, monkeypatch):
    models = models_sha256(place / "model")

    def overtaken(*paths):
        pair = read_pair(*paths)
        write_models(place / "model", shift=3.0)  # as a training that ends just now does
        return pair

    monkeypatch.setattr(scoring, "read_pair", overtaken)
    score(place)
    record = read_record(place / "scores.txt", files.sha256(place / "scores.txt"))
    assert record.models_sha256 == models != models_sha256(place / "model")


def test_the_eer_needs_labels_of_both_classes(place, capsys):
    eer = score(place)
    own = read_cm_scores(place / "scores.txt")
    assert (eer.rate, eer.threshold) == metrics.eer(own.scores[own.bonafide], own.scores[~own.bonafide])
    assert (eer.n_bonafide, eer.n_spoof) == (6, 6)
    assert str(eer).endswith(f"% at threshold {eer.threshold:.6f}")
    arrays = [array for array, _ in read_list(place / "dev-mfcc.pkl")]
    trials = read_protocol(place / "protocol.txt")
    for label in (None, "spoof"):
        with ListWriter(place / "dev-mfcc.pkl") as out:
            for array in arrays:
                out.append(array, label)
        (place / "protocol.txt").write_text("".join(f"{t.speaker} {t.utterance} - - {label or '-'}\n" for t in trials))
        assert score(place) is None
        assert "no EER without labels of both classes" in capsys.readouterr().err


# -- features of another kind ----------------------------------------------------------------------------


def train_on(place, change):
    """Train models on the list, whose features are changed; without its record they know nothing of it."""
    with ListWriter(place / "other.pkl") as out:
        for array, label in read_list(place / "dev-mfcc.pkl"):
            out.append(change(array), label)
    training.train(place / "other.pkl", place / "trained", TrainingOptions(n_components=2), n_jobs=1)
    return dict(zip(("model_path_bon", "model_path_sp"), model_files(place / "trained"), strict=True))


def test_features_of_another_scale_are_an_error_with_its_likely_cause(place):
    models = train_on(place, lambda array: (array - array.mean(axis=0)) / 100)
    with pytest.raises(InputError, match=r"dev-mfcc\.pkl: a typical log-likelihood is .* nats per frame below .*-cmvn"):
        score(place, **models)
    assert not (place / "scores.txt").exists()
    with pytest.raises(InputError, match="nats per frame below"):
        scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "trained", "x", place / "out", n_jobs=1)
    assert not list((place / "out").rglob("*.pkl"))


def test_score_lists_know_the_training_that_scored_them(place):
    models = train_on(place, lambda array: array)
    scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "trained", "x", place / "out", n_jobs=1)
    trained = read_pair(*models.values())
    for side in ("bon", "sp"):
        record = provenance.read(place / "out" / "dev" / f"x-{side}-dev.pkl")
        assert (record.model["name"], record.model["training_id"]) == ("x", trained.record.training_id)
        assert record.model["models_sha256"] == trained.sha256


@pytest.mark.parametrize("sides", [([0.0, 1.0], [np.inf, 0.0]), ([0.0, np.nan], [1.0, 0.0])])
def test_scores_are_finite_only_if_those_of_both_models_are(sides):
    assert not scores.Scores(*map(np.array, sides)).are_finite
    assert scores.Scores(np.zeros(2), np.ones(2)).are_finite


def test_one_strange_recording_is_no_error(place):
    models = train_on(place, lambda array: array)
    items = list(read_list(place / "dev-mfcc.pkl"))
    with ListWriter(place / "dev-mfcc.pkl") as out:
        for i, (array, label) in enumerate(items):
            out.append(array * (1000 if i == 3 else 1), label)
    score(place, **models)
    assert len((place / "scores.txt").read_text().splitlines()) == len(items)


def test_where_models_or_list_do_not_say_what_they_are_of_one_warning_does(place, capsys):
    def warning():
        score(place)
        (found,) = [line for line in capsys.readouterr().err.splitlines() if "no record of its data" in line]
        return found

    assert "bon.gmm has no record of its data" in (found := warning())
    assert "dev-mfcc.pkl (mfcc features)" in found
    training.train(place / "dev-mfcc.pkl", place / "model", TrainingOptions(n_components=2), n_jobs=1, restart=True)
    capsys.readouterr()
    score(place)
    told = capsys.readouterr().err
    assert "no record of its data" not in told
    assert "dev-mfcc.pkl: the models were trained on it, so the EER says nothing about other recordings" in told
    models = read_record(place / "scores.txt", files.sha256(place / "scores.txt")).models
    n_frames = [sum(len(x) for x, own in read_list(place / "dev-mfcc.pkl") if own == label) for label in LABELS]
    assert models == ModelsRecord("gmm", "features", [2, 2], n_frames)
    provenance.path_of(place / "dev-mfcc.pkl").unlink()
    assert "dev-mfcc.pkl has no record of its data" in (found := warning())
    assert "(mfcc features)" in found


# -- outputs and inputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["protocol.txt", "dev-mfcc.pkl", "dev-mfcc.pkl.json", "model/sp.gmm"])
def test_a_score_file_does_not_replace_what_is_read(place, no_work, name):
    os.symlink(place / name, place / "by another name")
    before = contents(place)
    with pytest.raises(InputError, match="this run reads or writes"):
        score(place, output_path=place / "by another name")
    assert contents(place) == before


@pytest.mark.parametrize(
    ("content", "is_refused"), [(b"fLaC\0\0", True), (b"# a card\n", True), (b"", False), (b"a 1\n", False)]
)
def test_a_file_that_holds_no_scores_is_not_replaced(place, content, is_refused):
    path = place / "there"
    path.write_bytes(content)
    if is_refused:
        with pytest.raises(InputError, match="there: is there, and no score file; choose another name"):
            score(place, output_path=path)
        assert path.read_bytes() == content
    else:
        score(place, output_path=path)
        assert path.read_text().startswith("LA_")


def test_neither_does_its_record_nor_that_of_a_fusion(place, no_work):
    protocol = (place / "protocol.txt").rename(place / "scores.txt.json")
    folder = fused(place)
    with pytest.raises(InputError, match=r"scores\.txt\.json: this run reads or writes"):
        score(place, label_path=protocol)
    with pytest.raises(InputError, match="this run reads or writes"):
        scoring.score_fusion(folder, *model_files(place / "fusion"), protocol, folder / "b-bon-dev.pkl")
    data = place / "scores" / "dev" / "x-sp-dev.pkl"
    data.parent.mkdir(parents=True)
    (place / "dev-mfcc.pkl").rename(data)
    with pytest.raises(InputError, match=r"x-sp-dev\.pkl: this run reads or writes"):
        scoring.write_frame_scores("dev", data, place / "model", "x", place / "scores")


def test_what_cannot_be_written_is_refused_before_any_work(place, monkeypatch):
    monkeypatch.setattr(scoring, "score_items", lambda *arguments: pytest.fail("it went to work"))
    with pytest.raises(InputError, match="model: is a folder; give the name of a file"):
        score(place, output_path=place / "model")
    with pytest.raises(InputError, match=r"protocol\.txt: is a file; give the name of a folder for the pictures"):
        score(place, plot=place / "protocol.txt")
    with pytest.raises(InputError, match=r"protocol\.txt: cannot be made, since a file has this name"):
        score(place, output_path=place / "protocol.txt" / "scores.txt")
    assert not (place / "scores.txt").exists()


def test_one_model_for_both_classes_is_refused_as_such(place, no_work):
    os.symlink(place / "model" / "sp.gmm", place / "other.gmm")
    with pytest.raises(InputError, match="are the same"):
        score(place, model_path_bon=place / "other.gmm")


# -- lists of scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".hidden", "a/b"])
def test_names_that_a_fusion_would_not_find_are_refused(place, no_work, name):
    with pytest.raises(InputError, match=f"^--model_name {name!r}: "):
        scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "model", name, place / "out")
    assert not (place / "out").exists()


def told(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]


def test_a_name_is_taken_as_it_is(place, capsys):
    out, name = place / "out" / "dev", "x{1} %s"
    scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "model", name, place / "out", n_jobs=1)
    assert {path.name for path in out.iterdir()} == {
        f"{name}-{side}-dev.pkl{record}" for side in ("bon", "sp") for record in ("", ".json")
    }
    n_frames = sum(len(array) for array, _ in read_list(place / "dev-mfcc.pkl"))
    what = f"12 recordings, {n_frames:,} frames"
    assert told(capsys) == [f"{out / f'{name}-{side}-dev.pkl'}: {what}" for side in ("bon", "sp")]


def test_items_without_frames_keep_their_places(place, capsys):
    folder = fused(place)
    with ListWriter(folder / "b-bon-dev.pkl") as out:
        for i, (array, label) in enumerate(read_list(place / "dev-mfcc.pkl")):
            out.append(None if i == 3 else array[:, 0], label)
    paths = scoring.write_file_scores("dev", folder, place / "fusion", "x", place / "out", n_jobs=1)
    what = "11 recordings, 1 without frames and without scores"
    assert told(capsys) == [f"{path}: {what}" for path in paths]
    assert [i for i, (array, _) in enumerate(read_list(paths[0])) if array is None] == [3]
    scoring.score_fusion(folder, *model_files(place / "fusion"), place / "protocol.txt", place / "scores.txt", n_jobs=1)
    assert "1 trial of" in capsys.readouterr().err
    assert len((place / "scores.txt").read_text().splitlines()) == 11


def test_lists_of_scores_are_made_again_only_where_something_has_changed(place, capsys):
    def scored_again(*, split="dev"):
        scoring.write_frame_scores(split, place / "dev-mfcc.pkl", place / "model", "x", place / "out", n_jobs=1)
        return "nothing to do" not in capsys.readouterr().err

    assert scored_again()
    assert not scored_again()
    path = place / "out" / "dev" / "x-sp-dev.pkl"
    for damaged in (path, provenance.path_of(path)):
        damaged.write_bytes(b"other")
        assert scored_again()
        damaged.unlink()
        assert scored_again()
    write_models(place / "model", shift=1.0)
    assert scored_again()
    record = provenance.read(place / "dev-mfcc.pkl")
    provenance.write(place / "dev-mfcc.pkl", replace(record, versions={**record.versions, "features": "0"}))
    assert scored_again()
    with pytest.raises(InputError, match="a list of dev, but --data_split says eval"):
        scored_again(split="eval")
    provenance.path_of(place / "dev-mfcc.pkl").unlink()
    assert scored_again()
    assert not provenance.path_of(path).exists()


# -- trials --------------------------------------------------------------------------------------------


def test_trials_are_found_in_any_order(place):
    score(place)
    expected = sorted((place / "scores.txt").read_text().splitlines())
    lines = (place / "protocol.txt").read_text().splitlines()
    for order in (lines[::-1], lines[5:] + lines[:5]):
        (place / "protocol.txt").write_text("\n".join(order))
        score(place)
        found = (place / "scores.txt").read_text().splitlines()
        assert [line.rsplit(" ", 1)[0] for line in found] == order
        assert sorted(found) == expected


@pytest.mark.parametrize(
    ("n_extra", "names"), [(1, "absent_0"), (2, "absent_0 and 1 more"), (3, "absent_0 and 2 more")]
)
def test_trials_that_the_list_lacks_are_named_and_counted(n_extra, names, place):
    path = place / "protocol.txt"
    extra = "".join(f"S1 absent_{i} - - bonafide\n" for i in range(n_extra))
    path.write_text(f"{path.read_text().rstrip()}\n{extra}")
    with pytest.raises(InputError, match=rf"dev-mfcc\.pkl: {names}: in {path}, but not in the list; give the protocol"):
        score(place)


@pytest.mark.parametrize("i", [0, 11])
def test_a_trial_with_another_label_is_named(place, i):
    path = place / "protocol.txt"
    lines = path.read_text().splitlines()
    utterance, label = lines[i].split()[1], lines[i].split()[-1]
    lines[i] = lines[i].replace(label, LABELS[label == LABELS[0]])
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"{utterance}.* is {label}, but the trial of {path} is '{lines[i]}'; give"):
        score(place)


def test_trials_that_extraction_left_out_are_counted(place, capsys):
    path = place / "protocol.txt"
    n_trials = len(path.read_text().splitlines())
    path.write_text(f"{path.read_text().rstrip()}\nS1 absent_1 - - bonafide\nS1 absent_2 - - bonafide\n")
    record = provenance.read(place / "dev-mfcc.pkl")
    provenance.write(place / "dev-mfcc.pkl", replace(record, skipped=["absent_1", "absent_2"]))
    score(place)
    assert f"2 trials of {path} not in the list, or without frames: no score" in capsys.readouterr().err
    assert len((place / "scores.txt").read_text().splitlines()) == n_trials


def test_a_million_trials_take_less_than_600_mb(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "_ROWS_PER_TASK", 100)  # the same number of rows in memory at once
    write_models(tmp_path / "model", 1)
    sizes, peaks = (100, 200, 1000), []  # what is made once is made with the first
    for n in sizes:
        with ListWriter(tmp_path / f"{n}.pkl") as out, open(tmp_path / f"{n}.txt", "w") as protocol:
            for i in range(n):
                label = LABELS[i % 2]
                out.append(np.full((1, 1), i % 7, np.float32), label)
                protocol.write(f"LA_{i % 100:04d} LA_E_{i:07d} - {'-' if i % 2 == 0 else 'A07'} {label}\n")
        gc.collect()
        tracemalloc.start()
        score(tmp_path, data_path=tmp_path / f"{n}.pkl", label_path=tmp_path / f"{n}.txt")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[-1] - peaks[-2]) / (sizes[-1] - sizes[-2]) < 600  # bytes a trial


def test_scores_of_a_protocol_of_three_fields_are_read_back(place):
    trials = read_protocol(place / "protocol.txt")
    (place / "protocol.txt").write_text("".join(f"{t.speaker} {t.utterance} {t.label}\n" for t in trials))
    score(place)
    found = read_cm_scores(place / "scores.txt")
    assert found.columns.utterances == [trial.utterance for trial in trials]
    assert found.columns.speakers == [trial.speaker for trial in trials]
    assert set(found.columns.attacks) == {None}
