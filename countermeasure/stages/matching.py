"""Find the trials of a protocol in a table."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from countermeasure.errors import InputError
from countermeasure.lists.table import Table
from countermeasure.trials.lines import Trial

_ADVICE = "give the protocol that the list was made from"


def items_of_trials(
    table: Table, trials: Sequence[Trial], label_path: str | os.PathLike[str], is_subset: bool = False
) -> np.ndarray:
    """Find each trial in a table by its utterance, or by order if the table names no utterances.

    With `is_subset`, the table may hold other trials, too.

    Returns
    -------
    items : array [n_trials]
        Indices into the table; -1 for a trial that extraction has left out.

    Raises
    ------
    InputError
        If the table holds other trials or other labels.
    """
    what, utterances = table.paths[0], table.utterances
    if utterances is None:
        if len(trials) != len(table):
            raise InputError(f"{what}: {len(table)} items, but {label_path} has {len(trials)} trials; {_ADVICE}")
        items = np.arange(len(trials))
    else:
        item_of = {utterance: item for item, utterance in enumerate(utterances)}
        items = np.array([item_of.get(trial.utterance, -1) for trial in trials], int)
        wanted = {trial.utterance for trial in trials}
        skipped = table.record.skipped if table.record else ()
        if not is_subset:
            _refuse(what, [name for name in utterances if name not in wanted], f"not in {label_path}")
        _refuse(what, sorted(wanted - {*utterances, *skipped}), f"in {label_path}, but not in the list")
    for trial, item in zip(trials, items.tolist(), strict=True):
        label = table.labels[item] if item >= 0 else None
        if label != trial.label and None not in (label, trial.label):
            raise InputError(
                f"{what}: {table.name(item)} is {label}, but the trial of {label_path} is {trial.line!r}; {_ADVICE}"
            )
    return items


def _refuse(what: object, utterances: Sequence[str], problem: str) -> None:
    if utterances:
        more = f" and {len(utterances) - 1} more" * (len(utterances) > 1)
        raise InputError(f"{what}: {utterances[0]}{more}: {problem}; {_ADVICE}")
