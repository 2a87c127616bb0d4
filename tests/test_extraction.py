import dataclasses
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile

import gmm_data_processing
from countermeasure import compute, files, versions
from countermeasure.errors import InputError
from countermeasure.features import features, types
from countermeasure.lists import provenance, unfinished
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.unfinished import RecordingInfo, UnfinishedList
from countermeasure.speech import audio
from countermeasure.stages import recordings
from countermeasure.stages.extraction import extract

ROOT = Path(__file__).resolve().parents[1]


class Corpus:
    """Recordings of noise, their protocol, and a call of the stage over them."""

    def __init__(self, folder, rng, n=7):
        self.data_path, self.label_path, self.output_path = folder / "flac", folder / "protocol.txt", folder / "out"
        self.data_path.mkdir()
        self.rng = rng
        self.utterances = [f"LA_T_{i:07d}" for i in range(n)]
        for utterance in self.utterances:
            self.record(utterance)
        self.write_protocol()

    def record(self, utterance, n_samples=4000, rate=16000, suffix=".flac", n_channels=1):
        shape = (n_samples, n_channels) if n_channels > 1 else n_samples
        soundfile.write(self.data_path / (utterance + suffix), 0.1 * self.rng.normal(size=shape), rate)

    def path(self, utterance):
        return self.data_path / f"{utterance}.flac"

    def write_protocol(self, labelled=True):
        labels = ["bonafide", "spoof"] if labelled else ["?", "?"]
        lines = [f"LA_{i % 2:04d} {u} - - {labels[i % 2]}\n" for i, u in enumerate(self.utterances)]
        self.label_path.write_text("".join(lines))

    def extract(self, *ftype, **options):
        options = {"n_jobs": 1, **options}
        return extract("train", self.data_path, self.label_path, self.output_path, list(ftype), **options)

    def files(self):
        return {path.name: path.read_bytes() for path in self.output_path.iterdir()}


@pytest.fixture
def corpus(tmp_path, rng):
    return Corpus(tmp_path, rng)


@pytest.fixture
def computed(monkeypatch):
    """The utterances whose recordings are decoded, in order."""
    utterances = []
    read = audio.read

    def spy(path):
        recording = read(path)
        utterances.append(path.stem)
        return recording

    monkeypatch.setattr(audio, "read", spy)
    return utterances


def load(path):
    with open(path, "rb") as f:
        return pickle.load(f)


def record_of(path):
    record = provenance.read(path)
    assert record is not None
    return record


# -- lists -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lists_hold_features_and_labels_in_the_protocols_order(corpus, dtype):
    corpus.utterances.reverse()
    corpus.write_protocol()
    corpus.path("LA_A_0000001").write_bytes(b"not even audio, and in no line")
    paths = corpus.extract("mfcc", "lfcc-25", "silence", "mfcc", dtype=dtype)
    assert [path.name for path in paths] == ["train-mfcc.pkl", "train-lfcc-25.pkl", "train-silence.pkl"]
    for path, name in zip(paths, ["mfcc", "lfcc-25", "silence"], strict=True):
        items = load(path)
        assert [label for _, label in items] == [["bonafide", "spoof"][i % 2] for i in range(7)]
        for (feature, _), utterance in zip(items, corpus.utterances, strict=True):
            recording = audio.read(corpus.path(utterance))
            assert feature.dtype == dtype
            np.testing.assert_array_equal(feature, features.extract(recording.signal, 16000, [name], dtype)[name])


def test_blind_protocols_give_no_labels_and_it_is_said(corpus, capsys):
    paths = corpus.extract("mfcc", "lfcc")
    n_frames = sum(len(feature) for feature, _ in load(paths[0]))
    assert capsys.readouterr().err.splitlines() == [f"{path}: 7 recordings, {n_frames:,} frames" for path in paths]
    corpus.write_protocol(labelled=False)
    assert [label for _, label in load(corpus.extract("mfcc", "lfcc")[0])] == [None] * 7
    said = capsys.readouterr().err
    assert said.count(f"{corpus.label_path}: no line has a label: a blind set") == 1


def test_a_csv_names_recordings_of_any_format_below_the_folder(corpus, capsys):
    (corpus.data_path / "my voice").mkdir()
    files = [f"my voice/100% take {i}{suffix}" for i, suffix in enumerate((".wav", ".flac", ".ogg", ".WAV"))]
    for file in files:
        corpus.record(file.rsplit(".", 1)[0], n_samples=8000, suffix=f".{file.rsplit('.', 1)[1]}")
    corpus.label_path.write_text("file,label\n" + "".join(f"{file},bonafide\n" for file in files))
    (path,) = corpus.extract("mfcc")
    for file, (feature, _) in zip(files, load(path), strict=True):
        recording = audio.read(corpus.data_path / file)
        np.testing.assert_array_equal(feature, features.extract(recording.signal, 16000, ["mfcc"])["mfcc"])
    assert record_of(path).utterances == [file.replace("%", "%25").replace(" ", "%20") for file in files]
    corpus.record("../outside", suffix=".wav")
    corpus.label_path.write_text("file,label\nLA_T_0000000.flac,bonafide\n../outside.wav,spoof\n")
    with pytest.raises(InputError, match="1 of 2 recordings cannot be used"):
        corpus.extract("mfcc")
    assert "leads out of" in capsys.readouterr().err


def test_files_depend_neither_on_processes_nor_on_other_types_nor_on_folders(corpus, monkeypatch, tmp_path):
    monkeypatch.setattr(recordings, "_BATCH", 2)
    names = ["mfcc", "psrcc", "silence"]
    corpus.extract(*names, n_jobs=2)
    together = corpus.files()
    assert not [name for name, content in together.items() if str(tmp_path).encode() in content]
    corpus.data_path, corpus.output_path = corpus.data_path.rename(tmp_path / "moved"), tmp_path / "elsewhere"
    for name in names:
        corpus.extract(name)
    assert corpus.files() == together


# -- what stands beside a list -----------------------------------------------------------------------


def test_the_record_says_what_the_list_holds(corpus):
    corpus.record(corpus.utterances[1], n_samples=100)
    corpus.record(corpus.utterances[2], n_channels=2)
    (path,) = corpus.extract("mfcc")
    record = record_of(path)
    assert provenance.matches(path, record)
    assert (record.kind, record.split, record.sampling_rate, record.dtype) == ("features", "train", 16000, "float32")
    assert record.feature == types.settings("mfcc", 16000)
    assert record.utterances == corpus.utterances
    assert record.speakers == ["LA_0000", "LA_0001"] * 3 + ["LA_0000"]
    assert record.n_frames == [len(feature) for feature, _ in load(path)]
    assert (record.padded, record.mixed_down) == ([corpus.utterances[1]], [corpus.utterances[2]])
    assert record.skipped == []
    assert record.protocol_sha256 == files.sha256(corpus.label_path)
    digests = [files.sha256(corpus.path(utterance)) for utterance in corpus.utterances]
    assert record.audio_sha256 == provenance.combined_sha256(digests)
    assert record.versions == versions.current()
    assert record.format == 2  # older suites ignore records of a newer one


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_frames", [1]), ("feature", {"type": ["mfcc"]}), ("sampling_rate", 0), ("index", {"dtype": "<f4"})],
)
def test_records_of_another_form_are_named(corpus, name, value):
    (path,) = corpus.extract("mfcc")
    content = json.loads(provenance.path_of(path).read_text())
    provenance.path_of(path).write_text(json.dumps({**content, name: value}))
    with pytest.raises(InputError, match="is not a record of a list"):
        provenance.read(path)
    provenance.path_of(path).write_text(json.dumps({**content, "format": 99}))
    assert provenance.read(path) is None


# -- not twice ---------------------------------------------------------------------------------------


def test_a_finished_list_is_not_made_again(corpus, computed, monkeypatch):
    workers = Mock(wraps=compute.workers)
    monkeypatch.setattr(compute, "workers", workers)
    (path,) = corpus.extract("mfcc", n_jobs=None)
    assert workers.call_args.args[0] == 1  # so few start no process
    inode = path.stat().st_ino
    computed.clear()
    corpus.path(corpus.utterances[0]).touch()  # file times say nothing
    corpus.extract("mfcc")
    assert (computed, path.stat().st_ino) == ([], inode)
    older = {"countermeasure": "0.1", "numpy": "1.22.0", "spafe": "0.3.2"}  # and nothing of format and features
    provenance.write(path, dataclasses.replace(record_of(path), versions=older))
    corpus.extract("mfcc", "lfcc")
    assert path.stat().st_ino == inode
    corpus.extract("mfcc", restart=True)
    assert path.stat().st_ino != inode


def change_something(corpus, change, monkeypatch):
    """Change what a list is made from; return the options of the next extraction."""
    if change == "audio":
        corpus.record(corpus.utterances[3])
    elif change == "label":
        corpus.label_path.write_text(corpus.label_path.read_text().replace("bonafide", "spoof"))
    elif change == "order":
        corpus.utterances.reverse()
        corpus.write_protocol()
    elif change == "version":
        monkeypatch.setattr(versions, "COMPARED", {"format": "1", "features": "2"})
    return {"dtype": "float64"} if change == "dtype" else {}


@pytest.mark.parametrize("change", ["audio", "label", "dtype", "version", "list", "record", "no record"])
def test_a_list_is_made_again_when_something_changed(corpus, computed, monkeypatch, change):
    (path,) = corpus.extract("mfcc")
    inode = path.stat().st_ino
    computed.clear()
    if change == "list":
        path.write_bytes(path.read_bytes()[:-1])
    elif change == "record":
        provenance.path_of(path).write_text("{")
    elif change == "no record":
        provenance.path_of(path).unlink()
    corpus.extract("mfcc", **change_something(corpus, change, monkeypatch))
    assert len(computed) == 7
    assert path.stat().st_ino != inode
    assert provenance.matches(path, record_of(path))


class Interruption(BaseException):
    pass


@pytest.fixture
def interrupted(tmp_path, rng, monkeypatch):
    """A function that extracts from 20 recordings and is interrupted, as by Ctrl-C, in the second batch of eight."""
    corpus = Corpus(tmp_path, rng, n=20)

    def run(*ftype):
        decoded = Mock(side_effect=[*map(audio.read, map(corpus.path, corpus.utterances[:12])), Interruption])
        with monkeypatch.context() as patch:
            patch.setattr(audio, "read", decoded)
            with pytest.raises(Interruption):
                corpus.extract(*ftype)
        return corpus

    return run


def test_an_interrupted_run_goes_on_where_it_was(interrupted, computed):
    corpus = interrupted("mfcc", "silence")
    assert not list(corpus.output_path.glob("*.pkl"))
    computed.clear()
    corpus.extract("mfcc", "silence")
    assert computed == corpus.utterances[8:]
    resumed = corpus.files()
    corpus.extract("mfcc", "silence", restart=True)
    assert corpus.files() == resumed
    assert not [name for name in resumed if name.startswith(".")]


@pytest.mark.parametrize("change", ["audio", "order", "version"])
def test_what_changed_meanwhile_is_computed_again(interrupted, computed, monkeypatch, change):
    corpus = interrupted("mfcc")
    computed.clear()
    corpus.extract("mfcc", **change_something(corpus, change, monkeypatch))
    assert computed == corpus.utterances
    resumed = corpus.files()
    corpus.extract("mfcc", restart=True)
    assert corpus.files() == resumed


def test_another_type_may_join_an_interrupted_run(interrupted, computed):
    corpus = interrupted("mfcc")
    computed.clear()
    mfcc, lfcc = corpus.extract("mfcc", "lfcc")
    assert computed == corpus.utterances  # for lfcc
    assert len(load(mfcc)) == len(load(lfcc)) == 20
    together = corpus.files()
    corpus.extract("mfcc", "lfcc", restart=True)
    assert corpus.files() == together


def grown(path, features, settings="mfcc", digests=None):
    """Continue a list of recordings; return how many of them were there."""
    with UnfinishedList(path, settings) as unfinished:
        unfinished.resume(digests or [str(i) for i in range(unfinished.n_earlier)], with_problems=False)
        n_there = len(unfinished.recordings)
        for i, feature in enumerate(features[n_there:], n_there):
            unfinished.add(RecordingInfo(str(i), 16000, 1, 4000), feature, "spoof")
    return n_there


def finished(path, features):
    grown(path, features)
    with UnfinishedList(path, "mfcc") as unfinished:
        unfinished.resume([str(i) for i in range(unfinished.n_earlier)], with_problems=False)
        digest, index = unfinished.finish()
        unfinished.publish()
    assert digest == files.sha256(path)
    return index


def written(path, features):
    """Write the list that an undisturbed run would; return its index."""
    with ListWriter(path) as out:
        for feature in features:
            out.append(feature, "spoof")
    return out.index()


@pytest.mark.parametrize("stop", [0, 20, 21])
def test_a_list_that_grew_in_two_runs_has_the_bytes_of_an_undisturbed_one(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(unfinished, "SECTION", 10)
    features = [np.full((1 + i % 3, 2), i, np.float32) for i in range(50)]
    assert grown(tmp_path / "list", features[:stop]) == 0
    assert grown(tmp_path / "list", features) == stop
    assert finished(tmp_path / "list", features) == written(tmp_path / "expected", features)
    assert (tmp_path / "list").read_bytes() == (tmp_path / "expected").read_bytes()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "n_kept"),
    [("cut", 2), ("garbage", 2), ("flipped", 2), ("no title", 0), ("items cut", 4), ("settings", 0), ("recording", 4)],
)
def test_an_unfinished_list_ends_at_its_first_torn_section(tmp_path, monkeypatch, damage, n_kept):
    monkeypatch.setattr(unfinished, "SECTION", 2)
    path, sections, items = tmp_path / "list", tmp_path / ".list.sections", tmp_path / ".list.items"
    features = [np.full((5, 60), i, np.float32) for i in range(8)]
    grown(path, features)
    lines = sections.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    changed = {
        "cut": [*lines[:2], lines[2][:40]],
        "garbage": [*lines[:2], b"\xff{[", *lines[2:]],
        "flipped": [*lines[:2], lines[2].replace(b'"end": ', b'"end": 1'), *lines[3:]],
        "no title": lines[1:],
    }
    sections.write_bytes(b"".join(changed.get(damage, lines)))
    if damage == "items cut":
        items.write_bytes(items.read_bytes()[: items.stat().st_size * 5 // 8])
    digests = [str(i) if i != 5 or damage != "recording" else "other" for i in range(8)]
    assert grown(path, features, "lfcc" if damage == "settings" else "mfcc", digests) == n_kept
    if damage != "settings":
        finished(path, features)
        written(tmp_path / "expected", features)
        assert path.read_bytes() == (tmp_path / "expected").read_bytes()


def hidden(folder):
    return sorted(path.name for path in folder.glob(".*"))


def test_a_killed_run_leaves_neither_lists_nor_processes(tmp_path, rng, computed):
    corpus = Corpus(tmp_path, rng, n=1)
    for i in range(300):  # the same recording many times over: enough work to be killed in
        corpus.utterances.append(f"X_{i}")
        os.link(corpus.path("LA_T_0000000"), corpus.path(f"X_{i}"))
    corpus.write_protocol()
    program = f"""
from countermeasure.lists import unfinished
from countermeasure.stages.extraction import extract
unfinished.SECTION = 50
extract("train", {str(corpus.data_path)!r}, {str(corpus.label_path)!r}, {str(corpus.output_path)!r}, ["mfcc"], 2)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True) as process:
        sections = corpus.output_path / ".train-mfcc.pkl.sections"
        wait_until(lambda: sections.exists() and len(sections.read_bytes().splitlines()) > 1)
        process.kill()
    wait_until(lambda: not alive_in_session(process.pid))
    assert not (corpus.output_path / "train-mfcc.pkl").exists()
    (path,) = corpus.extract("mfcc")
    assert 0 < len(computed) <= 251
    assert len(load(path)) == 301
    assert hidden(corpus.output_path) == []


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive_in_session(session):
    listing = subprocess.run(["ps", "-s", str(session), "-o", "stat="], capture_output=True, text=True, check=False)
    return [state for state in listing.stdout.split() if not state.startswith("Z")]


# -- bad recordings ----------------------------------------------------------------------------------


def spoil(corpus):
    """Return the utterances of two recordings that can no longer be used."""
    missing, cut = corpus.utterances[2], corpus.utterances[5]
    corpus.path(missing).unlink()
    corpus.path(cut).write_bytes(corpus.path(cut).read_bytes()[:200])
    return [missing, cut]


def test_bad_recordings_are_all_named_and_no_list_is_written(corpus, capsys):
    bad = spoil(corpus)
    with pytest.raises(InputError, match=rf"2 of 7 recordings cannot be used: 2 \({bad[0]}, {bad[1]}\).*--skip_bad"):
        corpus.extract("mfcc", "silence")
    said = capsys.readouterr().err
    assert f"{bad[0]}: neither .flac nor .wav is there" in said
    assert f"{bad[1]}.flac: " in said
    assert not list(corpus.output_path.glob("[!.]*"))


def test_skip_bad_leaves_them_out(corpus, computed):
    other = corpus.data_path.with_name(os.fsdecode(b"fl\xe4c"))  # a folder with any name
    corpus.data_path = corpus.data_path.rename(other)
    bad = spoil(corpus)
    with pytest.raises(InputError):
        corpus.extract("mfcc")
    computed.clear()
    (path,) = corpus.extract("mfcc", skip_bad=True)
    assert computed == []  # the good ones were kept
    record = record_of(path)
    assert record.skipped == bad
    assert record.utterances == [utterance for utterance in corpus.utterances if utterance not in bad]
    assert len(load(path)) == 5
    skipped = (corpus.output_path / "train-mfcc.skipped.txt").read_text()
    assert [line.split()[0] for line in skipped.splitlines()] == bad
    assert "fl\\udce4c" in skipped


def test_a_list_with_gaps_counts_only_where_gaps_are_allowed(corpus, computed):
    (bad, _) = spoil(corpus)
    corpus.extract("mfcc", skip_bad=True)
    inode = (corpus.output_path / "train-mfcc.pkl").stat().st_ino
    corpus.extract("mfcc", skip_bad=True)
    assert (corpus.output_path / "train-mfcc.pkl").stat().st_ino == inode
    with pytest.raises(InputError):
        corpus.extract("mfcc")
    assert (corpus.output_path / "train-mfcc.pkl").stat().st_ino == inode
    for utterance in corpus.utterances:
        corpus.record(utterance)
    (path,) = corpus.extract("mfcc")
    assert bad in record_of(path).utterances
    assert not (corpus.output_path / "train-mfcc.skipped.txt").exists()


def test_a_wrong_folder_is_suspected_when_nothing_is_found(corpus, tmp_path, capsys):
    corpus.data_path = tmp_path
    told = r"7 of 7 recordings cannot be used; is .* their folder\? first: .*LA_T_0000000: neither \.flac nor \.wav"
    with pytest.raises(InputError, match=told):
        corpus.extract("mfcc", skip_bad=True)
    assert capsys.readouterr().err == ""  # the verdict is all there is to say


def test_recordings_of_two_rates_do_not_mix_and_what_was_computed_is_kept(corpus, computed):
    odd = corpus.utterances[4]
    corpus.record(odd, rate=8000)
    for _ in range(2):  # the second run finds those before it computed
        with pytest.raises(InputError, match=rf"{odd} is sampled at 8000 Hz, but {corpus.utterances[0]} at 16000"):
            corpus.extract("mfcc", skip_bad=True)
    assert not (corpus.output_path / "train-mfcc.pkl").exists()
    computed.clear()
    corpus.record(odd)
    (path,) = corpus.extract("mfcc")
    assert record_of(path).sampling_rate == 16000


def test_of_many_recordings_some_are_named_as_the_caller_did(corpus, capsys):
    files = [f"take {i}, 100%.wav" for i in range(8)]
    for file in files:
        corpus.record(file.removesuffix(".wav"), n_samples=100, suffix=".wav", n_channels=2)
    rows = "".join(f'"{file}",bonafide\n' for file in files)
    corpus.label_path.write_text(f"file,label\n{rows}")
    (path, _) = corpus.extract("mfcc", "silence")
    told, named = capsys.readouterr().err, f"8 ({', '.join(files[:5])} and 3 more)\n"
    assert told.count(f"several channels, of which the mean is taken: {named}") == 1
    assert told.count(f"shorter than one window, filled up with zeros: {named}") == 1
    assert told.endswith("train-silence.pkl: 8 recordings, one row per file\n")
    assert len(record_of(path).mixed_down) == 8


# -- wrong calls and the script ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ftype": ["mfc"]}, "no feature type 'mfc'; there are mfcc"),
        ({"data_path": "nowhere"}, "nowhere: no such folder"),
        ({"label_path": "nowhere.txt"}, r"nowhere\.txt: no such file"),
    ],
)
def test_wrong_calls_write_nothing(corpus, options, message):
    paths = {"data_path": corpus.data_path, "label_path": corpus.label_path, "output_path": corpus.output_path}
    with pytest.raises(InputError, match=message):
        extract(**{"data_split": "train", "ftype": ["mfcc"], **paths, **options})
    assert not corpus.output_path.exists()


@pytest.mark.parametrize("name", ["train-mfcc.pkl.json", "train-mfcc.skipped.txt"])
def test_a_protocol_that_an_output_would_replace_is_refused(corpus, name):
    corpus.output_path.mkdir()
    corpus.label_path = corpus.label_path.rename(corpus.output_path / name)
    content = corpus.label_path.read_bytes()
    with pytest.raises(InputError, match="this run reads or writes"):
        corpus.extract("mfcc")
    assert corpus.label_path.read_bytes() == content


def test_the_script_is_the_stage(corpus):
    arguments = ["--data_split", "dev", "--data_path", str(corpus.data_path), "--label_path", str(corpus.label_path)]
    arguments += ["--output_path", str(corpus.output_path), "--ftype", "mfcc", "lfcc", "--n_jobs", "1"]
    assert gmm_data_processing.main(arguments) == 0
    assert {name for name in corpus.files() if name.endswith(".pkl")} == {"dev-mfcc.pkl", "dev-lfcc.pkl"}
    text = gmm_data_processing.build_parser().format_help()
    assert [name for name in types.METHODS if f"\n  {name} " not in text] == []


# -- several types at once ---------------------------------------------------------------------------


@pytest.fixture
def computed_lfcc(corpus, monkeypatch):
    """A corpus of which a run has computed one type, and was interrupted before it finished the list."""
    monkeypatch.setattr(unfinished, "SECTION", 2)
    with monkeypatch.context() as patch:
        patch.setattr(UnfinishedList, "finish", Mock(side_effect=Interruption))
        with pytest.raises(Interruption):
            corpus.extract("lfcc")
    return corpus


def test_types_are_finished_together_after_one_was_interrupted(computed_lfcc):
    corpus = computed_lfcc
    with pytest.raises(InputError, match=r"LA_T_0000000: 0 to 100 Hz is too narrow a band"):
        corpus.extract("lfcc", "lfcc@0-100", skip_bad=True)
    assert not [name for name in corpus.files() if "@" in name]
    (path,) = corpus.extract("lfcc", skip_bad=True)
    assert len(load(path)) == 7


def test_a_run_that_does_not_begin_leaves_the_sections_of_another(computed_lfcc):
    corpus = computed_lfcc
    before = {name: content for name, content in corpus.files().items() if "lfcc" in name}
    assert len(before) == 2
    with UnfinishedList(corpus.output_path / "train-mfcc.pkl", "another run", restart=True):
        with pytest.raises(InputError, match="another run is at work"):
            corpus.extract("lfcc", "mfcc", dtype="float64")
        assert {name: content for name, content in corpus.files().items() if "lfcc" in name} == before
