"""Which score lists are of former models: ``python -m countermeasure.stages.outdated test.sh WORK mfcc lfcc``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.gmm import models
from countermeasure.lists import names, provenance


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
    """Say on stderr which models are newer than the fusions that were made with them."""
    work, *folders = sys.argv[1:] if argv is None else argv
    program = Path(sys.argv[0]).name
    for name in outdated(Path(work), folders):
        cli.log(
            f"{program}: model/{name} is not the model that the lists in ensemble/{name} and the fusions "
            "were made with; score with it and train the fusions anew to have all of one kind"
        )
    return 0


if __name__ == "__main__":
    del sys.argv[0]  # messages begin with the wrapper's name, which is the first argument
    cli.run(main)
