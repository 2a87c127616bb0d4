"""examples/: they run, on a few recordings of noise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_cm_scores

ROOT = Path(__file__).resolve().parents[1]
OWN_DATA = ROOT / "examples" / "own_data"
SUFFIXES = (".wav", ".flac", ".ogg")


@pytest.fixture
def recordings(tmp_path, rng):
    """Noises that are easily told apart, in several formats, with blanks in their names."""
    folder = tmp_path / "my recordings"
    for group in ("bonafide/Ann Lee", "bonafide/Bob", "bonafide/Cleo", "spoof/tts", "spoof/vc"):
        (folder / group).mkdir(parents=True)
        for i in range(6):
            noise = rng.normal(size=8000) * 0.05
            signal = noise if "bonafide" in group else np.convolve(noise, np.ones(8) / 8, "same")
            soundfile.write(folder / group / f"take {i}{SUFFIXES[i % 3]}", signal, 16000)
    (folder / "bonafide" / "notes.txt").write_text("not a recording")
    return folder


def run(*words, cwd):
    command = [str(word) for word in words]
    environment = {**os.environ, "PYTHON": sys.executable, "TRAIN_OPTIONS": "--n_components 2"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def make_lists(recordings, folder, *options):
    return run(sys.executable, OWN_DATA / "make_lists.py", recordings, "--output_path", folder, *options, cwd=folder)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_own_recordings_from_a_folder_to_the_eer(recordings, tmp_path):
    done = run("bash", OWN_DATA / "run.sh", recordings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "own_data"
    train, test = (read_protocol(results / f"{name}.csv") for name in ("train", "test"))
    assert len(train) + len(test) == 30
    assert not {t.utterance for t in train} & {t.utterance for t in test}
    speakers = [{t.speaker for t in trials if t.label == "bonafide"} for trials in (train, test)]
    assert speakers[0] | speakers[1] == {"Ann%20Lee", "Bob", "Cleo"}
    assert not speakers[0] & speakers[1]
    for trials in (train, test):
        assert {t.attack for t in trials if t.label == "spoof"} == {"tts", "vc"}
    scores = read_cm_scores(results / "scores.txt")
    assert [name.decode() for name in scores.utterances.tolist()] == [t.utterance for t in test]
    assert scores.scores[scores.bonafide].min() > scores.scores[~scores.bonafide].max()
    assert "EER 0.0 %" in done.stdout
    unknown = recordings / "spoof" / "tts" / "take 0.wav"
    done = run(sys.executable, ROOT / "gmm_detect.py", "--model_path", results / "lfcc", unknown, cwd=tmp_path)
    assert done.stdout.startswith(f"{unknown}: spoof, LLR -"), done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_run_says_how_it_is_called(tmp_path):
    done = run("bash", OWN_DATA / "run.sh", cwd=tmp_path)
    assert done.returncode == 2
    assert "bash examples/own_data/run.sh ~/recordings" in done.stderr
    done = run("bash", OWN_DATA / "run.sh", tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert "bonafide: no recordings; sort them into bonafide/ and spoof/" in done.stderr


def test_spoofs_of_a_speaker_go_where_the_speaker_goes(recordings, tmp_path):
    for speaker in ("Ann Lee", "Bob", "Cleo"):
        (recordings / "spoof" / "vc" / speaker).mkdir()
        for path in (recordings / "bonafide" / speaker).iterdir():
            shutil.copy(path, recordings / "spoof" / "vc" / speaker)
    done = make_lists(recordings, tmp_path)
    assert done.returncode == 0, done.stderr
    speakers = [{t.speaker for t in read_protocol(tmp_path / f"{name}.csv")} - {None} for name in ("train", "test")]
    assert speakers[0] | speakers[1] == {"Ann%20Lee", "Bob", "Cleo"}
    assert not speakers[0] & speakers[1]
    converted = [t for name in ("train", "test") for t in read_protocol(tmp_path / f"{name}.csv") if t.attack == "vc"]
    assert sum(trial.speaker is not None for trial in converted) == 18


def test_recordings_without_further_folders_are_divided_too(recordings, tmp_path):
    for path in [path for path in recordings.rglob("take*") if path.is_file()]:
        path.rename(recordings / path.relative_to(recordings).parts[0] / f"{path.parent.name} {path.name}")
    done = make_lists(recordings, tmp_path)
    assert done.returncode == 0, done.stderr
    labels = [[trial.label for trial in read_protocol(tmp_path / f"{name}.csv")] for name in ("train", "test")]
    assert [(found.count("bonafide"), found.count("spoof")) for found in labels] == [(13, 8), (5, 4)]


@pytest.mark.parametrize(("share", "n_test"), [(0.5, 15), (0.3, 10)])
def test_the_share_of_the_test(recordings, tmp_path, share, n_test):
    done = make_lists(recordings, tmp_path, "--test_share", share)
    assert done.returncode == 0, done.stderr
    assert abs(len(read_protocol(tmp_path / "test.csv")) - n_test) <= 3


def test_a_share_that_leaves_a_list_empty_is_refused(recordings, tmp_path):
    for share, message in (("0", "must be above 0"), ("0.01", "too few recordings to put some into test.csv")):
        done = make_lists(recordings, tmp_path, "--test_share", share)
        assert (done.returncode, message in done.stderr) == (2, True)
    assert not list(tmp_path.glob("*.csv"))
