"""The pictures of a result; what they look like is in `drawing`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from countermeasure.evaluation import calibration_picture, det_picture, drawing
from countermeasure.evaluation.drawing import BONAFIDE_COLOUR, COLOURS, COST_MARK, FAINT, INK, SPOOF_COLOUR, Drawn
from countermeasure.evaluation.results import ATTACK
from countermeasure.evaluation.tables import FIGURES, decimals
from tDCF_python.evaluation import EER, MIN_DCF, cost_functions, tdcf_name
from tDCF_python.metrics import LinearCost

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from countermeasure.evaluation.results import Group, Study

_PANEL = {True: (5.4, 3.0), False: (3.2, 2.3)}  # width and height in inches, of a single one and of several
_THRESHOLD: dict[str, Any] = {"color": INK, "linewidth": 1.1, "label": "threshold of the EER"}


def pictures(study: Study) -> dict[str, Figure]:
    """Return the pictures of a result by the name of their file.

    ``det``; ``histograms`` of the scores with thresholds; ``cost`` over the threshold; ``calibration``,
    scores as log-likelihood ratios; ``attacks``, EER by attack with intervals, where the trials name attacks.

    Raises
    ------
    InputError
        When matplotlib is missing.
    """
    cost_name = tdcf_name(study.legacy) if study.rates else MIN_DCF
    cost = cost_functions(study.rates)[cost_name]
    with drawing.house_style():
        digits = decimals(system.pooled for system in study.systems)
        systems = [drawing.drawn(k, system, cost_name, digits) for k, system in enumerate(study.systems)]
        found = {
            "det": det_picture.draw(systems, FIGURES[cost_name]),
            "histograms": _histograms(systems, FIGURES[cost_name]),
            "cost": _cost(systems, cost, FIGURES[cost_name].removeprefix("min ")),
            "calibration": calibration_picture.draw(systems),
        }
        with_attacks = [system for system in systems if system.result.groups(ATTACK)]
        if with_attacks:
            found["attacks"] = _attacks(with_attacks)
    return found


def _histograms(systems: Sequence[Drawn], cost_name: str) -> Figure:
    figure, panels = _score_panels(systems, "trials of the class, %")
    for system, axes in zip(systems, panels, strict=True):
        # With few trials, many bins look ragged.
        n_bins = int(np.clip(3 * np.sqrt(min(len(system.bonafide), len(system.spoof))), 15, 60))
        edges = np.linspace(*axes.get_xlim(), n_bins + 1)
        for scores, colour, line, name in (
            (system.bonafide, BONAFIDE_COLOUR, "-", "bona fide"),
            (system.spoof, SPOOF_COLOUR, "--", "spoof"),
        ):
            share = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
            axes.stairs(100 * share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(100 * share, edges, color=colour, linestyle=line, linewidth=1.2, label=name)
        axes.axvline(system.eer.threshold, **_THRESHOLD)
        axes.axvline(system.cheapest.threshold, **_THRESHOLD | {"linestyle": ":", "label": f"of {cost_name}"})
        axes.set(title=system.name, xlabel="score (higher = bona fide)")
        axes.set_ylim(bottom=0)
    drawing.legend_below(figure, panels, 4 if len(panels) > 4 else 2)
    return figure


def _cost(systems: Sequence[Drawn], cost: LinearCost, name: str) -> Figure:
    figure, panels = _score_panels(systems, f"normalised {name}")
    for system, axes in zip(systems, panels, strict=True):
        thresholds, values = system.curve.thresholds, cost(system.curve.p_miss, system.curve.p_fa)
        axes.plot(thresholds, values, color=COLOURS[0], label=f"normalised {name}")
        axes.axhline(1, color=INK, linewidth=0.9, linestyle="--", label="cost of a constant answer")
        axes.axvline(system.eer.threshold, **_THRESHOLD)
        at, (low, high) = system.cheapest, axes.get_xlim()
        if low <= at.threshold <= high:
            axes.plot(at.threshold, at.value, color=COLOURS[0], label="minimum", **COST_MARK)
        axes.set(title=f"{system.name}\nminimum {at.value:.{system.digits + 1}f}", xlabel="threshold (score)")
        axes.set_ylim(0, 2 if values[(thresholds > low) & (thresholds < high)].max(initial=0) > 1.2 else 1.25)
    drawing.legend_below(figure, panels, 4 if len(panels) > 4 else 2)
    return figure


def _score_panels(systems: Sequence[Drawn], label: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each system, over the range where nearly all its scores lie."""
    n = len(systems)
    figure, panels = drawing.panels(n, drawing.columns_for(n), *_PANEL[n == 1], below=0.5)
    for system, axes in zip(systems, panels, strict=True):
        drawing.score_axis(axes, system, 8 if n == 1 else 5)
    drawing.label_left(panels, label)
    return figure, panels


def _attacks(systems: Sequence[Drawn]) -> Figure:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    groups = [system.result.groups(ATTACK) for system in systems]
    most, single = max(map(len, groups)), len(systems) == 1
    longest = max(len(group.name) for found in groups for group in found)
    width = max(6.2 if single else 3.4, (0.42 if single else 0.22) * most + 0.8)
    upright = longest * 0.065 > (width - 0.8) / most
    n = len(systems)
    figure, panels = drawing.panels(n, drawing.columns_for(n), width, 2.6 if single else 2.3, below=0.35)
    for system, found, axes in zip(systems, groups, panels, strict=True):
        _bars(axes, [group for group in found if group.evaluation], system.colour, single)
        axes.set_title(system.name)
        axes.tick_params(axis="x", labelrotation=90 if upright else 0, length=0)
        axes.grid(visible=False, axis="x")
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    drawing.label_left(panels, "EER, %")
    handles: list[Artist] = [Patch(facecolor=FAINT, edgecolor=INK, hatch="////", label="all attacks pooled")]
    if any(EER in group.intervals and group.intervals[EER].low is not None for found in groups for group in found):
        handles.append(Line2D([], [], color=INK, linewidth=1.1, label="95 % interval"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _bars(axes: Axes, groups: Sequence[Group], colour: str, with_values: bool) -> None:
    """Draw one bar for each group, with its interval; the last group is the pooled one."""
    values = np.array([100 * (group.value(EER) or 0) for group in groups])
    tops = values.copy()
    last = len(groups) - 1
    axes.bar(range(last), values[:-1], width=0.72, color=colour, edgecolor=colour, linewidth=0.8)
    axes.bar(last, values[-1], width=0.72, color=FAINT, edgecolor=INK, hatch="////", linewidth=0.8)
    for k, group in enumerate(groups):
        interval = group.intervals.get(EER)
        if interval and interval.low is not None and interval.high is not None:
            ends = [100 * interval.low, 100 * interval.high]
            axes.plot([k, k], ends, color=INK, linewidth=1.1, marker="_", markersize=5)
            tops[k] = max(tops[k], ends[1])
        # With several systems there is room only for a 0, without which the bar would look like a missing one.
        if with_values or not values[k]:
            word, size = (f"{values[k]:.1f}", 7.5) if with_values else ("0", 7)
            axes.annotate(word, (k, tops[k]), (0, 3), textcoords="offset points", ha="center", fontsize=size)
    axes.set_xticks(range(len(groups)), [group.name for group in groups])
    axes.set_xlim(-0.7, len(groups) - 0.3)
    axes.set_ylim(0, max(float(tops.max()) * 1.12, 1.0))
