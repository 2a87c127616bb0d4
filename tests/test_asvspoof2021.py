"""FLAC files that libsndfile refuses, as half of ASVspoof 2021's, through extraction, scoring and detection."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import overflowing_flac
from countermeasure.errors import InputError
from countermeasure.options import TrainingOptions
from countermeasure.speech import flac
from countermeasure.stages import detection
from countermeasure.stages.extraction import extract
from countermeasure.stages.scoring import score_list
from countermeasure.stages.training import train

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data/asvspoof2021"


def set_of(folder, rng, n=4):
    """Write n recordings of which the first half go beyond 16 bits, as FLAC and WAV."""
    lines = []
    for kind in ("flac", "wav"):
        (folder / kind).mkdir()
    for i in range(n):
        samples = np.round(3000 * rng.normal(size=6000)).astype(int)
        samples[3000 + 300 * i] = 32768 if i < n // 2 else 32767
        (folder / "flac" / f"LA_E_{i}.flac").write_bytes(overflowing_flac.content(samples))
        soundfile.write(folder / "wav" / f"LA_E_{i}.wav", overflowing_flac.wrapped(samples).astype(np.int16), 16000)
        lines.append(f"LA_E_{i},{'bonafide' if i % 2 else 'spoof'}\n")
    (folder / "protocol.csv").write_text("file,label\n" + "".join(lines))


def test_extraction_takes_them(tmp_path, rng):
    pytest.importorskip("miniaudio", reason="the decoder of such files, miniaudio, is not installed")
    set_of(tmp_path, rng)
    protocol, cut = tmp_path / "protocol.csv", tmp_path / "flac" / "LA_E_1.flac"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-2000])
    with pytest.raises(InputError, match=r"1 of 4 recordings cannot be used: 1 \(LA_E_1\)"):
        extract("eval", tmp_path / "flac", protocol, tmp_path / "a", ["lfcc"], n_jobs=1)
    cut.write_bytes(whole)
    (found,) = extract("eval", tmp_path / "flac", protocol, tmp_path / "a", ["lfcc"], n_jobs=1)
    (expected,) = extract("eval", tmp_path / "wav", protocol, tmp_path / "b", ["lfcc"], n_jobs=1)
    assert found.read_bytes() == expected.read_bytes()


def test_what_to_install_is_said_where_miniaudio_is_missing(tmp_path, rng, monkeypatch, capsys):
    set_of(tmp_path, rng)
    monkeypatch.setattr(flac, "miniaudio", lambda: None)
    try:
        soundfile.read(tmp_path / "flac" / "LA_E_0.flac")
    except soundfile.SoundFileError:
        pass
    else:
        pytest.skip("this libsndfile reads such files; only 1.2.1 and newer refuse them")
    with pytest.raises(InputError, match="2 of 4 recordings cannot be used"):
        extract("eval", tmp_path / "flac", tmp_path / "protocol.csv", tmp_path / "out", ["lfcc"], n_jobs=1)
    assert capsys.readouterr().err.count("`pip install miniaudio`") == 2
    assert not (tmp_path / "out" / "eval-lfcc.pkl").exists()


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings of ASVspoof 2021 in {DATA}")
def test_real_ones_score_the_same_by_list_and_by_recording(tmp_path, capsys):
    pytest.importorskip("miniaudio", reason="the decoder of such files, miniaudio, is not installed")
    flac, protocol, models = DATA / "flac", DATA / "protocol.csv", tmp_path / "model"
    (found,) = extract("eval", flac, protocol, tmp_path / "a", ["lfcc"], n_jobs=1)
    train(found, models, TrainingOptions(n_components=4, max_iter=5))
    score_list(found, models / "bon.gmm", models / "sp.gmm", protocol, tmp_path / "scores.txt")
    by_list = {line.split()[1]: float(line.split()[-1]) for line in (tmp_path / "scores.txt").read_text().splitlines()}
    assert len(by_list) == 32
    capsys.readouterr()
    detection.detect([str(models)], [str(flac)], output="json")
    by_recording = {Path(o["file"]).stem: o["llr"] for o in map(json.loads, capsys.readouterr().out.splitlines())}
    assert by_recording == pytest.approx(by_list, abs=1e-4)
