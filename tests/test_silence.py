from itertools import pairwise

import numpy as np
import pytest
import soundfile

import silence_measure
from countermeasure.errors import InputError
from silence_measure import get_silence

# A constant 0.1 is loud (power 1e-2) and zeros are quiet, so frames can be counted by hand: frame i
# covers the halves i and i + 1 of 256 samples each.
LOUD, QUIET = np.full(256, 0.1), np.zeros(256)
# Power 5e-5 lies between the two thresholds.
BETWEEN = np.full(256, np.sqrt(5e-5))


def measure(*halves, rest=0):
    return get_silence(np.concatenate([*halves, np.zeros(rest)]), 16000).tolist()


@pytest.mark.parametrize(
    ("halves", "rest", "expected"),
    [
        # Frame 3 (half quiet, half loud) is the first loud one; frames 8 and 9 are the first two quiet ones.
        ([QUIET] * 4 + [LOUD] * 4 + [QUIET] * 4, 0, [3 * 256, 12 * 256 - 8 * 256]),
        # Samples behind the last whole frame belong to the trailing silence, or to the voice.
        ([LOUD] * 4 + [QUIET] * 4, 100, [0, 4 * 256 + 100]),
        ([QUIET] * 4 + [LOUD] * 4, 100, [3 * 256, 0]),
        ([QUIET] * 8, 5, [8 * 256 + 5, 0]),
        # Two frames are three halves.
        ([LOUD] * 2, 255, [767, 0]),
        ([LOUD] * 3, 0, [0, 0]),
        ([QUIET[:0]], 0, [0, 0]),
        # A click in one half is heard in two frames; at the very beginning, in one.
        ([LOUD] + [QUIET] * 6, 0, [7 * 256, 0]),
        ([QUIET] + [LOUD] + [QUIET] * 6, 0, [0, 6 * 256]),
        # Two quiet halves make one quiet frame between speech.
        ([LOUD] * 4 + [QUIET] * 2 + [LOUD] * 4, 0, [0, 0]),
        ([QUIET] * 3 + [LOUD] * 3 + [QUIET] * 4 + [LOUD] * 3 + [QUIET] * 5, 0, [2 * 256, 5 * 256]),
    ],
)
def test_cases_by_hand(halves, rest, expected):
    assert measure(*halves, rest=rest) == expected


def test_what_lies_between_the_thresholds_neither_begins_nor_ends_a_stretch():
    # The frame that is half loud, half between still is loud; half between, half zeros (2.5e-5) is between.
    assert measure(*[BETWEEN] * 4, *[LOUD] * 3, *[BETWEEN] * 5) == [3 * 256, 0]
    assert measure(*[LOUD] * 3, *[BETWEEN] * 3, *[QUIET] * 3) == [0, 3 * 256]


def test_thresholds_of_power():
    # Powers of two keep the sums exact: 2^-14 < 1e-4 < 2^-13, and 2^-17 < 1e-5 < 2^-16.
    assert get_silence(np.full(2048, 2**-7), 16000).tolist() == [2048, 0]
    assert get_silence(np.full(2048, 2**-6.5), 16000).tolist() == [0, 0]
    assert measure(*[LOUD] * 3, *[np.full(256, 2**-8.5)] * 3) == [0, 3 * 256]
    assert measure(*[LOUD] * 3, *[np.full(256, 2**-8)] * 3) == [0, 0]


def test_power_at_the_thresholds_is_quiet_and_not_loud():
    def clicks(power):
        """Return a signal whose frames have exactly this power: one sample in every second half."""
        signal = np.zeros(8 * 256)
        signal[100::512] = np.sqrt(512 * power)
        return signal

    assert get_silence(clicks(1e-4), 16000).tolist() == [8 * 256, 0]
    assert measure(*[LOUD] * 3, *[QUIET] * 1, clicks(1e-5)) == [0, 8 * 256 + 256]


@pytest.mark.parametrize(("n_changes", "trailing"), [([25, 26], 0), ([25, 25], 4 * 256)])
def test_hiss_is_not_quiet(n_changes, trailing):
    # Changes of sign within the halves, and one between them: 52 in 512 samples (0.102), or 51 (0.0996).
    changes = np.zeros(4 * 256, bool)
    changes[::256] = True
    for half in range(4):
        changes[half * 256 + np.linspace(9, 246, n_changes[half % 2]).astype(int)] = True
    hiss = 1e-3 * (-1.0) ** np.cumsum(changes)
    assert measure(*[LOUD] * 3, hiss)[1] == trailing


def test_zero_counts_as_positive():
    # 0 and positive in turn changes no sign; 0 and negative in turn does at each sample.
    assert measure(*[LOUD] * 3, np.tile([0, 1e-3], 512))[1] == 4 * 256
    assert measure(*[LOUD] * 3, np.tile([0, -1e-3], 512))[1] == 0


def by_the_definition(signal):
    """Go through the frames one after another, as the definition reads."""
    loud, quiet = [], []
    for start in range(0, len(signal) - 511, 256):
        frame = signal[start : start + 512]
        power = sum(x * x for x in frame) / 512
        crossings = sum((a >= 0) != (b >= 0) for a, b in pairwise(frame)) / 512
        loud.append(power > 1e-4)
        quiet.append(power <= 1e-5 and crossings <= 0.1)
    voiced, first, last = False, None, None
    for i in range(len(loud) - 1):
        if not voiced and loud[i] and loud[i + 1]:
            voiced, first, last = True, i if first is None else first, None
        elif voiced and quiet[i] and quiet[i + 1]:
            voiced, last = False, i
    if first is None:
        return [len(signal), 0]
    return [first * 256, 0 if last is None else len(signal) - last * 256]


def test_agrees_with_the_definition_on_random_signals(rng):
    for _ in range(20):
        levels = rng.choice([0, 1e-4, 1e-3, 4e-3, 8e-3, 2e-2, 0.1], size=rng.integers(1, 25))
        signal = np.concatenate([level * rng.normal(size=rng.integers(50, 700)) for level in levels])
        signal = np.convolve(signal, np.ones(9) / 3, "same")  # few zero crossings
        assert get_silence(signal, 16000).tolist() == by_the_definition(signal.tolist())


def test_script_prints_a_line_a_file(tmp_path, capsys):
    names = ["a.flac", "b.ogg", "c.AIFF", "d/e.WAV"]
    (tmp_path / "d").mkdir()
    for name in names:
        soundfile.write(tmp_path / name, np.concatenate([QUIET, QUIET, *[LOUD] * 4]), 16000)
    for name in ("notes.txt", ".hidden.mp3"):
        (tmp_path / name).write_bytes(b"no sound")
    assert silence_measure.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(tmp_path / name) for name in names]
    assert lines[0] == f"{tmp_path / 'a.flac'} 256 0"


def test_script_names_bad_files_and_goes_on(tmp_path, capsys):
    (tmp_path / "a.flac").write_bytes(b"")
    soundfile.write(tmp_path / "b.wav", np.zeros(600), 16000)
    with pytest.raises(InputError, match="1 of 2 recordings cannot be used"):
        silence_measure.main([str(tmp_path)])
    assert capsys.readouterr().out == f"{tmp_path / 'b.wav'} 600 0\n"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="1 of 1 recordings cannot be used"):
        silence_measure.main([str(tmp_path / "empty")])
    assert "empty: is a folder; give a recording" in capsys.readouterr().err
