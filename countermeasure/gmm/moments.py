"""Means, deviations and samples of the rows of a table, which training needs before its first pass."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import NamedTuple, NoReturn

import numpy as np

from countermeasure.compute import Workers
from countermeasure.errors import InputError
from countermeasure.gmm.mixture import Standardisation
from countermeasure.lists.rows import Rows
from countermeasure.lists.table import Part, Table, grouped

# Parts per task, whose result is small: enough that sending the task costs little in comparison.
_PARTS_PER_TASK = 16
# Deviation of a constant dimension due to rounding, relative to its mean: of the values in float32, and of the sums
# over a part in other types.
_ROUNDING_FLOAT32, _ROUNDING_OTHERS = 1e-6, 1e-12
# Largest root mean square of a part, and smallest and largest deviation of a dimension, whose models are read.
_LARGEST = 1e17
_DEVIATIONS = 1e-6, 1e8


def standardisation(table: Table, items: np.ndarray, workers: Workers) -> Standardisation:
    """Return mean and standard deviation of each dimension over the rows of some items.

    A constant dimension gets the scale 1.

    Raises
    ------
    InputError
        If a value is NaN, infinite or too large, or a dimension varies too little or too much; the message names the
        item or the dimension.
    """
    parts = table.parts(items)
    groups = grouped(parts, -(-len(parts) // _PARTS_PER_TASK))
    of_groups = workers.map(_moments, (list(map(table.located, group)) for group in groups))
    rounding = 0.0
    n, mean, squares = 0, np.zeros(table.n_columns), np.zeros(table.n_columns)
    for part, moments in enumerate(chain.from_iterable(of_groups)):
        if not moments.are_usable:
            _refuse(table, parts[part])
        # T. F. Chan et al., Updating formulae for computing sample variances, 1979.
        difference = moments.mean - mean
        squares += moments.squares + difference**2 * (n * moments.n / (n + moments.n))
        mean = mean + difference * (moments.n / (n + moments.n))
        n += moments.n
        rounding = max(rounding, moments.rounding)
    deviation = np.sqrt(squares / n)
    constant = deviation <= rounding * np.abs(mean) + np.finfo(np.float32).tiny
    smallest, largest = _DEVIATIONS
    unusual = np.flatnonzero(~constant & ((deviation < smallest) | (deviation > largest)))
    if unusual.size:
        d = int(unusual[0])
        raise InputError(
            f"{_lists(table)}: dimension {d + 1} has a standard deviation of {deviation[d]:.1e}; models need one from "
            f"{smallest:g} to {largest:g}, so look at the data, or multiply it by a constant"
        )
    return Standardisation(mean, np.where(constant, 1.0, deviation))


class _Moments(NamedTuple):
    """Number, mean and sum of squared differences from the mean of some rows, and their relative rounding error."""

    n: int
    mean: np.ndarray
    squares: np.ndarray
    rounding: float
    are_usable: bool


def _moments(parts: list[Rows]) -> list[_Moments]:
    moments = []
    for part in parts:
        rows = part.read()
        with np.errstate(invalid="ignore", over="ignore"):
            mean = rows.mean(axis=0, dtype=np.float64)
            squares = ((rows - mean) ** 2).sum(axis=0)
            are_usable = bool((squares / len(rows) + mean**2 <= _LARGEST**2).all())
        rounding = _ROUNDING_FLOAT32 if rows.dtype == np.float32 else _ROUNDING_OTHERS
        moments.append(_Moments(len(rows), mean, squares, rounding, are_usable))
    return moments


def _refuse(table: Table, part: Part) -> NoReturn:
    largest = [np.abs(table.rows(*rows)).max() for rows in part.tolist()]  # NaN if one is NaN
    raise InputError(
        f"{_lists(table)}: {table.name(part[np.argmax(largest), 0])} holds a value that is NaN, infinite or too large; "
        "make the list again"
    )


def _lists(table: Table) -> str:
    return ", ".join(map(str, table.paths))


def means(table: Table, items: np.ndarray) -> np.ndarray:
    """Return the mean row of each item; array [items, columns], float64.

    Raises InputError as `standardisation` does.
    """
    rows = []
    for item in items:
        part = np.array([[item, 0, table.n_rows[item]]])
        (moments,) = _moments([table.located(part)])
        if not moments.are_usable:
            _refuse(table, part)
        rows.append(moments.mean)
    return np.array(rows)


def sample(table: Table, items: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` rows of some items without replacement, or take all if there are fewer.

    Returns an array [n, columns] in the order of the list.
    """
    ends = np.cumsum(table.n_rows[items])
    total = int(ends[-1])
    chosen = np.sort(rng.choice(total, n, replace=False)) if n < total else np.arange(total)
    owners = np.searchsorted(ends, chosen, side="right")
    places = chosen - (ends - table.n_rows[items])[owners]
    edges = np.flatnonzero(np.diff(owners)) + 1  # each read is within one item
    rows = np.empty((len(chosen), table.n_columns))
    for first, last in pairwise([0, *edges.tolist(), len(chosen)]):
        start = int(places[first])
        read = table.rows(int(items[owners[first]]), start, int(places[last - 1]) + 1)
        rows[first:last] = read[places[first:last] - start]
    return rows
