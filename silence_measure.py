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


def get_silence(
    signal: "ArrayLike",
    rate: int,
    power_th: float | None = None,
    frame_length: int | None = None,
    hop_length: int | None = None,
) -> "NDArray[int64]":
    """Return the leading and trailing silence of a recording in samples, see `countermeasure.speech.silence`.

    Parameters
    ----------
    signal : array [n_samples]
        In [-1, 1).
    rate : int
        Sampling rate in Hz.
    power_th, frame_length, hop_length : float, int, int or None
        Arguments of older callers. The definition of ``silence`` fixes them at 1e-4, 512 and 256.

    Raises
    ------
    InputError
        If one of them has another value.
    """
    from countermeasure.speech import silence

    fixed = {"power_th": silence.LOUD_POWER, "frame_length": silence.FRAME, "hop_length": silence.HOP}
    given = {"power_th": power_th, "frame_length": frame_length, "hop_length": hop_length}
    for name, value in given.items():
        if value is not None and value != fixed[name]:
            raise InputError(
                f"get_silence: {name} {value}; it is {fixed[name]} by the definition of silence, leave the argument out"
            )
    return silence.get_silence(signal, rate)


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
