"""What the shell scripts ask, each question by its name.

``python -m countermeasure.stages.wrappers train.sh types mfcc lfcc silence``
``python -m countermeasure.stages.wrappers test.sh outdated WORK mfcc lfcc``
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.features import types
from countermeasure.gmm import models
from countermeasure.lists import names, provenance

SILENCE = "silence"


def frame_level_types(ftypes: Sequence[str]) -> list[str]:
    """Return the frame-level types of a call in alphabetical order.

    Raises
    ------
    InputError
        When a type is unknown or given twice, or when the types' windows differ: frames of different
        windows do not belong side by side.
    """
    windows = {name: types.window(name) for name in sorted(ftypes)}
    if len(windows) < len(ftypes):
        raise InputError(f"{' '.join(ftypes)}: a feature type is named twice; name each once")
    framed = [name for name, window in windows.items() if window is not None]
    for name in framed[1:]:
        if windows[name] != windows[framed[0]]:
            raise InputError(
                f"{framed[0]} and {name} have different windows, so their frames cannot be fused; "
                "choose types of one window: all with -25 or all without"
            )
    return framed


def outdated(work: Path, folders: Sequence[str]) -> Iterator[str]:
    """Yield the models, of those named, that are not the ones that gave the score lists of the same name.

    Parameters
    ----------
    work : Path
        The folder with ``model`` and ``ensemble``.
    folders : sequence of str
        Names in both. What is not there, or says nothing about itself, is passed over.
    """
    for name in folders:
        with contextlib.suppress(InputError):
            now = models.read_model(work / "model" / name / models.BONAFIDE_FILE).record.get("training_id")
            lists = (work / "ensemble" / name).glob(f"*/{names.score_list(name, names.SIDES[0], '*')}")
            records = [provenance.read(path) for path in lists]
            then = {record.model["training_id"] for record in records if record and record.model.get("training_id")}
            if now and then - {now}:
                yield name


def main(argv: Sequence[str] | None = None) -> int:
    """Answer a question: print a call's types, ``silence`` last, or say which models are newer than their fusions."""
    question, *words = sys.argv[1:] if argv is None else argv
    if question == "types":
        print(*frame_level_types(words), *[name for name in words if name == SILENCE])
        return 0
    program = Path(sys.argv[0]).name
    for name in outdated(Path(words[0]), words[1:]):
        cli.log(
            f"{program}: model/{name} is not the model that the lists in ensemble/{name} and the fusions "
            "were made with; score with it and train the fusions again, so that all belong together"
        )
    return 0


if __name__ == "__main__":
    del sys.argv[0]  # messages begin with the wrapper's name, which is the first argument
    cli.run(main)
