#!/usr/bin/env python3
"""Measure leading and trailing silence in samples, a line a recording: FILE LEADING TRAILING.

  python silence_measure.py ./LA/ASVspoof2019_LA_train/flac
  python silence_measure.py recording.wav

From Python: `from silence_measure import get_silence`.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from countermeasure import cli
from countermeasure.errors import InputError

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import ArrayLike, NDArray


def get_silence(signal: "ArrayLike", rate: int) -> "NDArray[int64]":
    """Return the leading and trailing silence of a recording in samples, see `countermeasure.speech.silence`."""
    from countermeasure.speech.silence import get_silence

    return get_silence(signal, rate)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the one argument."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "path", metavar="PATH", help="a recording of any format that libsndfile reads, or a folder of them"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the script with the given arguments (default: the command line's)."""
    arguments = build_parser().parse_args(argv)
    from countermeasure.speech import audio

    bad = []
    paths = _recordings(Path(arguments.path))
    for path in paths:
        try:
            recording = audio.read(path)
        except InputError as error:
            cli.log(str(error))
            bad.append(path)
            continue
        leading, trailing = get_silence(recording.signal, recording.rate)
        print(path, leading, trailing)
    if bad:
        raise InputError(f"{len(bad)} of {len(paths)} recordings cannot be used, first {bad[0]}; see above")
    return 0


def _recordings(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    from countermeasure.stages.detection import SUFFIXES, is_recording

    found = sorted(p for p in path.iterdir() if is_recording(p.name))
    if not found:
        raise InputError(f"{path}: no recording in this folder; its files end in none of {' '.join(SUFFIXES)}")
    return found


if __name__ == "__main__":
    cli.run(main)
