"""The detection error trade-off of systems in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from countermeasure.evaluation import drawing
from countermeasure.evaluation.drawing import COST_MARK, EER_MARK, FAINT, INK, Drawn
from countermeasure.evaluation.tables import percent
from tDCF_python.metrics import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PERCENT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 99, 99.9)
_TICKS = tuple(value / 100 for value in _PERCENT)
_SHARE_BELOW = 0.07  # of an axis' length: from 0 to the least rate that has its place as a normal deviate


def draw(systems: Sequence[Drawn], cost_name: str) -> Figure:
    """Draw the error rates of systems against each other, with the points of EER and least cost.

    The axes are normal deviates of the rates, which have no place for 0. If a point has no error of one kind, the axes
    continue linearly from their lowest rate to 0.
    """
    from matplotlib.lines import Line2D
    from scipy.special import ndtri

    low, high = _limits(systems)
    step = _SHARE_BELOW * float(ndtri(high) - ndtri(low))

    def place(rates: npt.ArrayLike) -> Floats:
        rates = np.asarray(rates, np.float64)
        # At the other end a curve leaves the picture instead of creeping along its edge.
        deviates = ndtri(np.clip(rates, low, 1 - (1 - high) / 20))
        return np.where(rates < low, deviates - step * (1 - rates / low), deviates)

    figure = drawing.figure_of(5.4, 5.6 + 0.18 * (len(systems) + 2))
    axes = figure.add_subplot()
    handles, least, is_outside = [], low, False
    for system in systems:
        rates = (place(system.curve.p_fa), place(system.curve.p_miss))
        (line,) = axes.plot(*rates, color=system.colour, linestyle=system.line)
        least_cost = f"{cost_name} {system.cheapest.value:.{system.digits + 1}f}"
        line.set_label(f"{system.name}: EER {percent(system.eer.value, system.digits)}, {least_cost}")
        handles.append(line)
        for point, mark in ((system.eer, EER_MARK), (system.cheapest, COST_MARK)):
            is_outside = is_outside or max(point.p_fa, point.p_miss) > high
            if max(point.p_fa, point.p_miss) <= high:
                axes.plot(place(point.p_fa), place(point.p_miss), color=system.colour, **mark)
                least = min(least, point.p_fa, point.p_miss)
    handles.append(Line2D([], [], color=INK, label="equal error rate", **EER_MARK))
    outside = " (in part outside the picture)" * is_outside
    handles.append(Line2D([], [], color=INK, label=f"{cost_name}{outside}", **COST_MARK))
    # A point without an error does not lie on the edge.
    ends = (float(place(least)) - (step / 2 if least == 0 else 0), float(place(high)))
    axes.plot(ends, ends, color=FAINT, linewidth=1, zorder=1)
    ticks = [tick for tick in (0, *_TICKS) if (least == 0 and tick == 0) or low <= tick <= high]
    ticks = _apart(ticks, place(ticks))
    names = [f"{100 * tick:g}" for tick in ticks]
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="false alarms: spoofs accepted, %")
    axes.set(ylabel="misses: bona fide rejected, %", title="Detection error trade-off")
    axes.set_xticks(place(ticks), names)
    axes.set_yticks(place(ticks), names)
    figure.legend(handles=handles, loc="outside lower center", handlelength=3)
    return figure


def _limits(systems: Sequence[Drawn]) -> tuple[float, float]:
    """Return the least and the greatest error rate to show as normal deviates."""
    points = [point for system in systems for point in (system.eer, system.cheapest)]
    rates = [rate for point in points for rate in (point.p_miss, point.p_fa)]
    lowest = min([0.005, *(rate / 2 for rate in rates if rate > 0)])
    # The least cost may be where nearly everything is accepted; the picture need not reach that far.
    highest = max(0.4, *(system.eer.value * 1.3 for system in systems), *(min(rate, 0.8) for rate in rates))
    low = max((tick for tick in _TICKS if tick <= lowest), default=_TICKS[0])
    high = min((tick for tick in _TICKS if tick >= highest), default=_TICKS[-1])
    return low, high


def _apart(ticks: Sequence[float], places: Floats) -> list[float]:
    """Return the first and last tick and those between that leave room for their labels."""
    room = 0.05 * (places[-1] - places[0])
    kept = [0]
    for k in range(1, len(ticks) - 1):
        if places[k] - places[kept[-1]] >= room and places[-1] - places[k] >= room:
            kept.append(k)
    return [ticks[k] for k in (*kept, len(ticks) - 1)]
