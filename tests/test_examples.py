"""Own recordings, from a folder to a decision."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import gmm_detect
from countermeasure.errors import InputError
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_cm_scores
from examples.own_data import make_lists

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "examples" / "own_data" / "run.sh"
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


@pytest.fixture
def lists(recordings, tmp_path):
    """Return a function that divides the recordings into two lists, and returns their trials."""

    def divide(*options):
        assert make_lists.main([str(recordings), "--output_path", str(tmp_path), *options]) == 0
        return [list(read_protocol(tmp_path / f"{name}.csv")) for name in make_lists.LISTS]

    return divide


def run(*arguments, cwd):
    environment = {**os.environ, "PYTHON": sys.executable, "TRAIN_OPTIONS": "--n_components 2"}
    command = ["bash", RUN, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_own_recordings_from_a_folder_to_a_decision(recordings, tmp_path, capsys):
    done = run(recordings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "EER 0.0 %" in done.stdout
    results = tmp_path / "own_data"
    scores = read_cm_scores(results / "scores.txt")
    tested = [trial.utterance for trial in read_protocol(results / "test.csv")]
    assert scores.columns.utterances == tested
    assert scores.scores[scores.bonafide].min() > scores.scores[~scores.bonafide].max()
    unknown = str(recordings / "spoof" / "tts" / "take 0.wav")
    capsys.readouterr()
    assert gmm_detect.main(["--model_path", str(results / "lfcc"), unknown]) == 0
    assert capsys.readouterr().out.startswith(f"{unknown}: spoof, LLR -")


def test_run_says_how_it_is_called(tmp_path):
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "bash examples/own_data/run.sh ~/recordings" in done.stderr


def test_speakers_and_their_conversions_are_in_one_list(recordings, lists):
    for speaker in ("Ann Lee", "Bob", "Cleo"):
        shutil.copytree(recordings / "bonafide" / speaker, recordings / "spoof" / "vc" / speaker)
    train, test = lists()
    assert len(train) + len(test) == 48
    assert not {t.utterance for t in train} & {t.utterance for t in test}
    speakers = [{t.speaker for t in trials} - {None} for trials in (train, test)]
    assert speakers[0] | speakers[1] == {"Ann%20Lee", "Bob", "Cleo"}
    assert not speakers[0] & speakers[1]
    for trials in (train, test):
        assert {t.attack for t in trials if t.label == "spoof"} == {"tts", "vc"}
    assert sum(t.attack == "vc" and t.speaker is not None for t in (*train, *test)) == 18


def test_recordings_without_further_folders_are_divided_too(recordings, lists):
    for path in [path for path in recordings.rglob("take*") if path.is_file()]:
        path.rename(recordings / path.relative_to(recordings).parts[0] / f"{path.parent.name} {path.name}")
    labels = [[trial.label for trial in trials] for trials in lists()]
    assert [(found.count("bonafide"), found.count("spoof")) for found in labels] == [(13, 8), (5, 4)]


def test_the_share_of_the_test(lists):
    assert abs(len(lists("--test_share", "0.5")[1]) - 15) <= 3
    for share, message in (("0", "must be above 0"), ("0.01", r"too few recordings to put some into test\.csv")):
        with pytest.raises(InputError, match=message):
            lists("--test_share", share)
    with pytest.raises(InputError, match="no recordings; sort them into bonafide/ and spoof/"):
        make_lists.make_lists(Path(__file__).parent, Path("nowhere"), 0.3)
