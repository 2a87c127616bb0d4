"""What scoring joins, refuses and leaves beside its files; the scores themselves: tests/test_scripts.py."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import corpus
from countermeasure import cli, files
from countermeasure.errors import InputError
from countermeasure.gmm.calibration import models_sha256
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, model_files, read_pair, write_model
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter, read_list
from countermeasure.options import TrainingOptions
from countermeasure.stages import scoring, training
from countermeasure.stages.extraction import extract
from countermeasure.trials.lines import LABELS
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_cm_scores, read_record, write_scores

ROOT = Path(__file__).resolve().parents[1]


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
    scoring.score_list(**{**names, **models, "output_path": place / "scores.txt", "n_jobs": 1, **settings})


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


# -- the record beside a score file --------------------------------------------------------------------


def test_a_score_file_has_a_record_of_its_models(place):
    score(place)
    path = place / "scores.txt"
    record = read_record(path, files.sha256(path))
    assert record.models_sha256 == models_sha256(place / "model")
    assert (record.split, record.inputs) == ("dev", ["mfcc"])
    # log N(x; mean, 1) over 60 dimensions, under the better of the two models
    frames = [array.astype(float) for array, _ in read_list(place / "dev-mfcc.pkl")]
    log_likelihoods = [
        max(np.mean(-0.5 * ((x - mean) ** 2 + np.log(2 * np.pi)).sum(axis=1)) for mean in (0, 1)) for x in frames
    ]
    assert record.log_likelihoods == pytest.approx(np.quantile(log_likelihoods, [0.05, 0.5]), rel=1e-6)
    before = contents(place)
    score(place)
    assert contents(place) == before
    os.symlink(path, place / "link.txt")
    assert read_record(place / "link.txt", files.sha256(path)) == record


def test_lists_without_a_record_give_a_score_file_with_one(place):
    provenance.path_of(place / "dev-mfcc.pkl").unlink()
    score(place)
    record = read_record(place / "scores.txt", files.sha256(place / "scores.txt"))
    assert record.models_sha256 == models_sha256(place / "model")
    assert (record.split, record.inputs) == (None, [])


def test_the_scores_of_a_fusion_know_its_columns(place):
    scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "model", "mfcc", place / "lists", n_jobs=1)
    write_models(place / "fusion", 2)
    models = model_files(place / "fusion")
    scoring.score_fusion(place / "lists" / "dev", *models, place / "protocol.txt", place / "scores.txt", n_jobs=1)
    record = read_record(place / "scores.txt", files.sha256(place / "scores.txt"))
    assert record.models_sha256 == models_sha256(place / "fusion")
    assert (record.split, record.inputs) == ("dev", ["mfcc-bon", "mfcc-sp"])


def test_a_run_does_not_vouch_for_the_scores_of_another(place, monkeypatch):
    def overtaken(path, lines, scores):
        digest = write_scores(path, lines, scores)
        path.write_text("the scores of another run, with other models, into the same file\n")
        return digest

    monkeypatch.setattr(scoring, "write_scores", overtaken)
    score(place)
    assert provenance.path_of(place / "scores.txt").is_file()
    assert read_record(place / "scores.txt", files.sha256(place / "scores.txt")) is None


def test_a_record_that_a_killed_run_left_vouches_for_nothing(place):
    score(place)
    old = provenance.path_of(place / "scores.txt").read_bytes()
    write_models(place / "model")
    trials = read_protocol(place / "protocol.txt")
    write_scores(place / "scores.txt", (trial.line for trial in trials), np.arange(len(trials)))  # and then it died
    assert provenance.path_of(place / "scores.txt").read_bytes() == old
    assert read_record(place / "scores.txt", files.sha256(place / "scores.txt")) is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"score_sha256": 1, "models_sha256": 2}', None]
)
def test_a_damaged_record_is_none(place, content):
    score(place)
    path = provenance.path_of(place / "scores.txt")
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)
    assert read_record(place / "scores.txt", files.sha256(place / "scores.txt")) is None


def test_a_device_has_no_record(place):
    os.symlink(os.devnull, place / "nowhere")
    score(place, output_path=place / "nowhere")
    assert not provenance.path_of(place / "nowhere").exists()


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
    with pytest.raises(InputError, match=r"dev-mfcc\.pkl: a typical log-likelihood is .* nats a frame below .*-cmvn"):
        score(place, **models)
    assert not (place / "scores.txt").exists()
    with pytest.raises(InputError, match="nats a frame below"):
        scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "trained", "x", place / "out", n_jobs=1)
    assert not list((place / "out").rglob("*.pkl"))


def test_one_strange_recording_is_no_error(place):
    models = train_on(place, lambda array: array)
    items = list(read_list(place / "dev-mfcc.pkl"))
    with ListWriter(place / "dev-mfcc.pkl") as out:
        for i, (array, label) in enumerate(items):
            out.append(array * (1000 if i == 3 else 1), label)
    score(place, **models)
    assert len((place / "scores.txt").read_text().splitlines()) == len(items)


def test_a_list_that_knows_its_features_warns_once_before_models_that_do_not(place, capsys):
    score(place)
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "bon.gmm does not say which features it was trained on" in warning
    assert "dev-mfcc.pkl (mfcc features)" in warning


def test_models_that_know_their_features_warn_once_before_a_list_that_does_not(place, capsys):
    training.train(place / "dev-mfcc.pkl", place / "model", TrainingOptions(n_components=2), n_jobs=1, restart=True)
    capsys.readouterr()
    score(place)
    assert "does not say" not in capsys.readouterr().err
    provenance.path_of(place / "dev-mfcc.pkl").unlink()
    score(place)
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "does not say" in line]
    assert "dev-mfcc.pkl does not say what it holds" in warning
    assert "(mfcc features)" in warning


# -- outputs and inputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["protocol.txt", "dev-mfcc.pkl", "dev-mfcc.pkl.json", "model/bon.gmm", "model/sp.gmm"])
def test_a_score_file_does_not_replace_what_is_read(place, no_work, name):
    before = contents(place)
    with pytest.raises(InputError, match="this run reads or writes"):
        score(place, output_path=place / name)
    os.symlink(place / name, place / "by another name")
    with pytest.raises(InputError, match="this run reads or writes"):
        score(place, output_path=place / "by another name")
    (place / "by another name").unlink()
    assert contents(place) == before


def test_neither_does_its_record(place, no_work):
    protocol = (place / "protocol.txt").rename(place / "scores.txt.json")
    before = contents(place)
    with pytest.raises(InputError, match=r"scores\.txt\.json: this run reads or writes"):
        score(place, label_path=protocol)
    assert contents(place) == before


def test_a_score_file_does_not_replace_a_list_of_the_fusion(place, no_work):
    folder = fused(place)
    before = contents(place)
    for path in folder.iterdir():
        with pytest.raises(InputError, match="this run reads or writes"):
            scoring.score_fusion(folder, *model_files(place / "fusion"), place / "protocol.txt", path)
    assert contents(place) == before


def test_what_cannot_be_written_is_refused_before_any_work(place, no_work):
    with pytest.raises(InputError, match="model: is a folder; give the name of a file"):
        score(place, output_path=place / "model")
    with pytest.raises(InputError, match=r"protocol\.txt: is a file; give the name of a folder for the pictures"):
        score(place, plot=place / "protocol.txt")
    assert not (place / "scores.txt").exists()


def test_an_output_below_a_file_is_refused_before_scoring(place, monkeypatch):
    monkeypatch.setattr(scoring, "score_items", lambda *arguments: pytest.fail("it went to work"))
    with pytest.raises(InputError, match=r"protocol\.txt: cannot be made, for a file stands in its place"):
        score(place, output_path=place / "protocol.txt" / "scores.txt")


@pytest.mark.parametrize("side", ["bon", "sp"])
def test_lists_of_scores_do_not_replace_what_is_read(place, no_work, side):
    data = place / "scores" / "dev" / f"x-{side}-dev.pkl"
    data.parent.mkdir(parents=True)
    (place / "dev-mfcc.pkl").rename(data)
    before = contents(place)
    with pytest.raises(InputError, match=f"x-{side}-dev.pkl: this run reads or writes"):
        scoring.write_frame_scores("dev", data, place / "model", "x", place / "scores")
    assert contents(place) == before
    data.rename(data.with_name(f"x-{side}-dev-filelevel.pkl"))
    before = contents(place)
    with pytest.raises(InputError, match=f"x-{side}-dev-filelevel.pkl: this run reads or writes"):
        scoring.write_file_scores("dev", data.parent, place / "model", "x", place / "scores")
    assert contents(place) == before


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/", "a/", "../up"])
def test_names_that_a_fusion_would_not_find_are_refused(place, no_work, name, capsys):
    for stage, data in ((scoring.write_frame_scores, place / "dev-mfcc.pkl"), (scoring.write_file_scores, place)):
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda stage=stage, data=data: stage("dev", data, place / "model", name, place / "out"))
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--model_name {name!r}: " in line
    assert not (place / "out").exists()


@pytest.mark.parametrize("name", ["x{1}", "{", "%s", "{}", "a b"])
def test_a_name_is_taken_as_it_is(place, name, capsys):
    scoring.write_frame_scores("dev", place / "dev-mfcc.pkl", place / "model", name, place / "out", n_jobs=1)
    assert {path.name for path in (place / "out" / "dev").iterdir()} == {
        f"{name}-{side}-dev.pkl{record}" for side in ("bon", "sp") for record in ("", ".json")
    }
    n_frames = sum(len(array) for array, _ in read_list(place / "dev-mfcc.pkl"))
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert lines == [
        f"{place / 'out' / 'dev' / f'{name}-{side}-dev.pkl'}: 12 recordings, {n_frames:,} frames"
        for side in ("bon", "sp")
    ]


def test_file_scores_are_told_of_too(place, capsys):
    folder = fused(place)
    with ListWriter(folder / "b-bon-dev.pkl") as out:
        for i, (array, label) in enumerate(read_list(place / "dev-mfcc.pkl")):
            out.append(None if i == 3 else array[:, 0], label)
    scoring.write_file_scores("dev", folder, place / "fusion", "x", place / "out", n_jobs=1)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert lines == [
        f"{place / 'out' / 'dev' / f'x-{side}-dev-filelevel.pkl'}: 11 recordings, 1 without frames and without scores"
        for side in ("bon", "sp")
    ]


def test_one_model_for_both_classes_is_refused_as_such(place, no_work):
    os.symlink(place / "model" / "sp.gmm", place / "other.gmm")
    for name in ("model/sp.gmm", "other.gmm"):
        with pytest.raises(InputError, match="are the same file"):
            score(place, model_path_bon=place / name)


# -- trials --------------------------------------------------------------------------------------------


def test_trials_are_found_in_any_order(place):
    score(place)
    expected = sorted((place / "scores.txt").read_text().splitlines())
    lines = (place / "protocol.txt").read_text().splitlines()
    for order in (lines[::-1], lines[5:] + lines[:5], lines[1:] + lines[:1], sorted(lines, key=lambda x: x[-5:])):
        (place / "protocol.txt").write_text("\n".join(order))
        score(place)
        found = (place / "scores.txt").read_text().splitlines()
        assert [line.rsplit(" ", 1)[0] for line in found] == order
        assert sorted(found) == expected


def test_a_million_trials_take_less_than_600_mb(tmp_path):
    write_models(tmp_path / "model", 1)
    sizes = (4000, 20000)
    for n in sizes:
        with ListWriter(tmp_path / f"{n}.pkl") as out, open(tmp_path / f"{n}.txt", "w") as protocol:
            for i in range(n):
                label = LABELS[i % 2]
                out.append(np.full((1, 1), i % 7, np.float32), label)
                protocol.write(f"LA_{i % 100:04d} LA_E_{i:07d} - {'-' if i % 2 == 0 else 'A07'} {label}\n")
    program = (
        "import sys, tracemalloc\n"
        "from countermeasure.gmm import scores\nfrom countermeasure.stages import scoring\n"
        "scores._ROWS_PER_TASK = 500\n"  # the same number of rows in memory at once
        "def score(n):\n"
        "    scoring.score_list(f'{n}.pkl', 'model/bon.gmm', 'model/sp.gmm', f'{n}.txt', 'scores.txt', n_jobs=1)\n"
        "    return tracemalloc.get_traced_memory()[1]\n"
        "score(sys.argv[1])\n"  # what is made once is made by now
        "for n in sys.argv[1:]:\n"
        "    tracemalloc.start()\n"
        "    print('peak', score(n))\n"
        "    tracemalloc.stop()\n"
    )
    # In a process of its own, where nothing that other tests have left takes or gives back memory.
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, sizes)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    small, large = (int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak"))
    assert (large - small) / (sizes[1] - sizes[0]) < 600  # bytes a trial


def test_scores_of_a_protocol_of_three_fields_are_read_back(place):
    trials = read_protocol(place / "protocol.txt")
    (place / "protocol.txt").write_text("".join(f"{t.speaker} {t.utterance} {t.label}\n" for t in trials))
    score(place)
    found = read_cm_scores(place / "scores.txt")
    assert found.utterances.tolist() == [trial.utterance.encode() for trial in trials]
    assert found.speakers.tolist() == [trial.speaker.encode() for trial in trials]
    assert set(found.attacks.tolist()) == {b""}
