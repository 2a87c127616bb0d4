"""The data sets of the ASVspoof challenges, recognised by their trials, and descriptions of their attacks."""

from __future__ import annotations

import numpy as np

from countermeasure.trials.score_files import CmScores

# Bona fide trials and spoofs, by the papers that describe the sets.
_SETS = {
    (2580, 22800): "ASVspoof 2019 LA, train",
    (2548, 22296): "ASVspoof 2019 LA, dev",
    (7355, 63882): "ASVspoof 2019 LA, eval",
    (5400, 48600): "ASVspoof 2019 PA, train",
    (5400, 24300): "ASVspoof 2019 PA, dev",
    (18090, 116640): "ASVspoof 2019 PA, eval",
    (14816, 133360): "ASVspoof 2021 LA, eval",
    (14869, 519059): "ASVspoof 2021 DF, eval",
    (18797, 163560): "ASVspoof 5, train",
    (31334, 109616): "ASVspoof 5, dev",
    (138688, 542086): "ASVspoof 5, eval (track 1)",
}
# Kind (TTS: text to speech, VC: voice conversion): README.LA.txt of the database. Waveform generator: X. Wang et al.,
# ASVspoof 2019: a large-scale public database of synthesized, converted and replayed speech, Computer Speech & Language
# 64, 2020.
_ATTACKS = {
    "A01": "TTS, WaveNet",
    "A02": "TTS, WORLD vocoder",
    "A03": "TTS, WORLD vocoder",
    "A04": "TTS, waveform concatenation",
    "A05": "VC, WORLD vocoder",
    "A06": "VC, spectral filtering",
    "A07": "TTS, WORLD vocoder and GAN",
    "A08": "TTS, neural source-filter",
    "A09": "TTS, Vocaine vocoder",
    "A10": "TTS, WaveRNN",
    "A11": "TTS, Griffin-Lim",
    "A12": "TTS, WaveNet",
    "A13": "TTS and VC, waveform concatenation and filtering",
    "A14": "TTS and VC, STRAIGHT vocoder",
    "A15": "TTS and VC, WaveNet",
    "A16": "TTS, waveform concatenation (as A04)",
    "A17": "VC, waveform filtering",
    "A18": "VC, MFCC vocoder",
    "A19": "VC, spectral filtering (as A06)",
}


def data_set(scores: CmScores) -> str | None:
    """Return the name of the data set with these numbers of bona fide and spoof trials; None if it is unknown."""
    n_bonafide = int(np.count_nonzero(scores.bonafide))
    return _SETS.get((n_bonafide, len(scores.bonafide) - n_bonafide))


def attacks(scores: CmScores) -> dict[str, str]:
    """Return descriptions of the attacks of ASVspoof 2019 LA by id; empty if the trials are not of this corpus.

    A07 to A19 also occur in ASVspoof 2021 LA and DF. Other corpora use the same ids for other attacks, so the corpus
    is recognised by the names of its trials or, for A01 to A06, by the size of the whole set.
    """
    found = _ATTACKS.keys() & {*scores.columns.attacks}
    first, last = min(scores.columns.utterances), max(scores.columns.utterances)
    is_eval = max(found, default="") > "A06" and first[:5] == last[:5] in ("LA_E_", "DF_E_")
    if is_eval or data_set(scores) in ("ASVspoof 2019 LA, train", "ASVspoof 2019 LA, dev"):
        return {name: _ATTACKS[name] for name in sorted(found)}
    return {}
