"""A tiny corpus in the data set's layout: noises that two seeds tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
PROTOCOLS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}


def make(folder: Path, n: int = 6) -> Path:
    """Write `n` bona fide and `n` spoofed recordings of each split; return the folder."""
    rng = np.random.default_rng(7)
    protocols = folder / "ASVspoof2019_LA_cm_protocols"
    protocols.mkdir(parents=True)
    for split, name in PROTOCOLS.items():
        audio = folder / f"ASVspoof2019_LA_{split}" / "flac"
        audio.mkdir(parents=True)
        lines = []
        for i in range(2 * n):
            spoof = i % 2
            utterance = f"LA_{split[0].upper()}_{1000000 + i}"
            noise = rng.normal(size=int(RATE * rng.uniform(0.4, 0.7)))
            # A spoof is a duller noise; silence of other lengths stands around both.
            signal = np.convolve(noise, np.ones(1 + 2 * spoof) / (1 + 2 * spoof), "same") * 0.1
            quiet = rng.normal(size=(2, 3000)) * 1e-4
            whole = np.concatenate([quiet[0][: rng.integers(600, 3000)], signal, quiet[1][: rng.integers(600, 3000)]])
            soundfile.write(audio / f"{utterance}.flac", whole, RATE)
            lines.append(f"LA_{i % 3:04d} {utterance} - {'A01 spoof' if spoof else '- bonafide'}")
        (protocols / f"ASVspoof2019.LA.cm.{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def protocol(folder: Path, split: str) -> Path:
    """Return the path of a split's protocol."""
    return folder / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{PROTOCOLS[split]}.txt"
