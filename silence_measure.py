#!/usr/bin/env python3
"""Measure leading and trailing silence in samples; print a line FILE LEADING TRAILING for each recording.

  python silence_measure.py ./LA/ASVspoof2019_LA_train/flac
  python silence_measure.py recording.wav

From Python: `from silence_measure import get_silence`.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from countermeasure import cli
from countermeasure.errors import InputError

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import ArrayLike, NDArray


def get_silence(signal: "ArrayLike", rate: int) -> "NDArray[int64]":
    """Return the leading and trailing silence of a recording in samples, array [2].

    Parameters
    ----------
    signal : array [n_samples]
        In [-1, 1).
    rate : int
        Not used: the frames of `countermeasure.speech.silence.Meter` are defined in samples.
    """
    import numpy as np

    from countermeasure.speech.silence import Meter

    meter = Meter()
    meter.add(np.asarray(signal))
    return meter.result()


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "path", metavar="PATH", help="recording of any format that libsndfile reads, or folder with all below it"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    arguments = build_parser().parse_args(argv)
    from countermeasure.speech import audio, places
    from countermeasure.speech.silence import Meter

    bad = []
    paths = list(places.recordings([arguments.path]))
    for path in paths:
        meter = Meter()
        try:
            with audio.stream(path) as stream:
                for piece in stream.pieces:
                    meter.add(piece)
        except InputError as error:
            cli.log(str(error))
            bad.append(path)
            continue
        leading, trailing = meter.result()
        print(path, leading, trailing)
    if bad:
        raise InputError(f"{len(bad)} of {len(paths)} recordings cannot be used, first {bad[0]}; see above")
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
