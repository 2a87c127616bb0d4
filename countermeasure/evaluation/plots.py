"""Pictures of scores and of their costs, all in one style.

Colours are those of M. Okabe and K. Ito's set for colour-blind readers that stand out on white and
on black; systems also differ in their lines, so that a print in grey can be read. No display is
needed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from countermeasure.errors import InputError
from countermeasure.evaluation.tables import FIGURES, percent
from countermeasure.files import replace_when_whole
from tDCF_python import metrics
from tDCF_python.evaluation import EER, MIN_DCF, cost_functions, tdcf_name
from tDCF_python.metrics import Floats, LinearCost

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from countermeasure.evaluation.results import Group, Study, SystemResult

INK = "#24292f"
FAINT = "#c8ced6"
PAPER = "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 2)))
BONAFIDE_COLOUR, SPOOF_COLOUR = COLOURS[0], COLOURS[1]
FORMATS = ("png", "svg")

_LOOK = {
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    **dict.fromkeys(("axes.axisbelow", "axes.grid"), True),
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), 9),
    **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), 8),
    "axes.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "savefig.dpi": 200,
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "tDCF_python",  # the same file from the same scores
    "text.parse_math": False,  # a $ in a name is a $
}
_PERCENT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 99, 99.9)
_DET_TICKS = tuple(value / 100 for value in _PERCENT)
_EER_MARK: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": ""}
_COST_MARK: dict[str, Any] = {"marker": "D", "markersize": 8, "linestyle": "", "mfc": "none", "mew": 1.4}
_PANEL = {True: (5.4, 3.0), False: (3.2, 2.3)}  # width and height in inches, of a single one and of several
_LONGEST_NAME = 34  # letters; a longer one loses its middle


@dataclass(frozen=True)
class _Drawn:
    """What the pictures need of one system."""

    result: SystemResult
    name: str
    bonafide: Floats
    spoof: Floats
    curve: metrics.DetCurve
    eer: metrics.Point
    cost: LinearCost
    cheapest: metrics.Point
    colour: str
    line: Any


def pictures(study: Study) -> dict[str, Figure]:
    """Return the pictures of a result by the name of their file.

    ``det``; ``histograms`` of the scores with thresholds; ``cost`` over the threshold; ``attacks``,
    EER by attack with intervals, where the trials name attacks.

    Raises
    ------
    InputError
        When matplotlib is missing.
    """
    cost_name = tdcf_name(study.legacy) if study.rates else MIN_DCF
    cost = cost_functions(study.rates)[cost_name]
    with house_style():
        drawn = [_drawn(k, system, cost, cost_name) for k, system in enumerate(study.systems)]
        found = {
            "det": _det(drawn, FIGURES[cost_name]),
            "histograms": _histograms(drawn, FIGURES[cost_name]),
            "cost": _cost(drawn, FIGURES[cost_name].removeprefix("min ")),
        }
        with_attacks = [look for look in drawn if look.result.groups("attack")]
        if with_attacks:
            found["attacks"] = _attacks(with_attacks)
    return found


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a picture, in the format that the path's ending names.

    Raises
    ------
    InputError
        When the ending names no format.
    """
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in (*FORMATS, "pdf"):
        raise InputError(f"{path}: a picture's name ends in .png, .svg or .pdf")
    with replace_when_whole(path) as f:
        write(figure, f, kind)


def write(figure: Figure, file: IO[bytes], kind: str) -> None:
    """Write a picture of the format `kind` into an open file; the same picture gives the same bytes."""
    with house_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # letters that the font lacks are shown as boxes
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)


def save_all(figures: Mapping[str, Figure], folder: str | os.PathLike[str]) -> list[Path]:
    """Write pictures into a folder, each as PNG and as SVG, and return their paths."""
    paths = [Path(folder) / f"{name}.{kind}" for name in figures for kind in FORMATS]
    for path in paths:
        save(figures[path.stem], path)
    return paths


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse, before any work, pictures that could not be written into this folder after it.

    Raises
    ------
    InputError
        When there is a file of this name, or when matplotlib is missing.
    """
    with house_style():
        pass
    if Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"{folder}: is a file; give the name of a folder for the pictures")


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in this suite's look during the block.

    Raises
    ------
    InputError
        When matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("pictures need matplotlib; install it with: pip install 'matplotlib>=3.7'") from None
    with matplotlib.rc_context(_LOOK):  # type: ignore[arg-type]
        yield


def _drawn(k: int, result: SystemResult, cost: LinearCost, cost_name: str) -> _Drawn:
    scores, name = result.scores, result.name
    bonafide, spoof = scores.scores[scores.bonafide], scores.scores[~scores.bonafide]
    return _Drawn(
        result,
        name if len(name) <= _LONGEST_NAME else f"{name[:16]}…{name[-17:]}",
        bonafide,
        spoof,
        metrics.det_curve(bonafide, spoof),
        result.evaluation.eer,
        cost,
        getattr(result.evaluation, cost_name),
        COLOURS[k % len(COLOURS)],
        # After as many systems as there are colours, colours come back with other lines.
        LINES[(k + k // len(COLOURS)) % len(LINES)],
    )


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _panels(n: int, width: float, height: float, below: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of equal panels, each of a size in inches, with room below for a legend."""
    columns = 1 if n == 1 else 2 if n <= 4 else 3
    rows = -(-n // columns)
    figure = _figure(width * columns, height * rows + below)
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(n)]
    return figure, axes


def _det(systems: Sequence[_Drawn], cost_name: str) -> Figure:
    from matplotlib.lines import Line2D
    from scipy.special import ndtri

    low, high = _det_limits(systems)
    beyond = (low / 20, 1 - (1 - high) / 20)  # a curve leaves the picture instead of creeping along its edge
    figure = _figure(5.4, 5.6 + 0.18 * (len(systems) + 2))
    axes = figure.add_subplot()
    ends = ndtri([low, high])
    axes.plot(ends, ends, color=FAINT, linewidth=1, zorder=1)
    handles = []
    for system in systems:
        x, y = (ndtri(np.clip(rates, *beyond)) for rates in (system.curve.p_fa, system.curve.p_miss))
        (line,) = axes.plot(*_thinned(x, y, 1000), color=system.colour, linestyle=system.line)
        line.set_label(f"{system.name}: EER {percent(system.eer.value, 2)}, {cost_name} {system.cheapest.value:.4f}")
        handles.append(line)
        for point, mark in ((system.eer, _EER_MARK), (system.cheapest, _COST_MARK)):
            if max(point.p_fa, point.p_miss) <= high:
                at = ndtri(np.maximum([point.p_fa, point.p_miss], low))
                axes.plot(*at, color=system.colour, clip_on=False, zorder=4, **mark)
    handles.append(Line2D([], [], color=INK, label="equal error rate", **_EER_MARK))
    handles.append(Line2D([], [], color=INK, label=cost_name, **_COST_MARK))
    ticks = _apart([tick for tick in _DET_TICKS if low <= tick <= high])
    names = [f"{100 * tick:g}" for tick in ticks]
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="false alarms: spoofs accepted, %")
    axes.set(ylabel="misses: bona fide rejected, %", title="Detection error trade-off")
    axes.set_xticks(ndtri(ticks), names)
    axes.set_yticks(ndtri(ticks), names)
    figure.legend(handles=handles, loc="outside lower center", handlelength=3)
    return figure


def _det_limits(systems: Sequence[_Drawn]) -> tuple[float, float]:
    """Return the least and the greatest error rate to show."""
    points = [point for system in systems for point in (system.eer, system.cheapest)]
    rates = [rate for point in points for rate in (point.p_miss, point.p_fa)]
    lowest = min([0.005, *(rate / 2 for rate in rates if rate > 0)])
    # The least cost may be where nearly everything is accepted; the picture need not reach that far.
    highest = max(0.4, *(system.eer.value * 1.3 for system in systems), *(min(rate, 0.8) for rate in rates))
    low = max((tick for tick in _DET_TICKS if tick <= lowest), default=_DET_TICKS[0])
    high = min((tick for tick in _DET_TICKS if tick >= highest), default=_DET_TICKS[-1])
    return low, high


def _apart(ticks: Sequence[float]) -> list[float]:
    """Return the first and last tick and those between that leave room for their names."""
    from scipy.special import ndtri

    places = ndtri(ticks)
    room = 0.05 * (places[-1] - places[0])
    kept = [0]
    for k in range(1, len(ticks) - 1):
        if places[k] - places[kept[-1]] >= room and places[-1] - places[k] >= room:
            kept.append(k)
    return [ticks[k] for k in (*kept, len(ticks) - 1)]


def _thinned(x: Floats, y: Floats, steps: int) -> tuple[Floats, Floats]:
    """Return a curve without the points that fall on the one before, on a grid of so many steps."""
    grid = [np.floor((v - v.min()) / max(np.ptp(v), 1e-300) * steps) for v in (x, y)]
    keep = np.ones(len(x), bool)
    keep[1:-1] = (np.diff(grid[0])[:-1] != 0) | (np.diff(grid[1])[:-1] != 0)
    return x[keep], y[keep]


def _histograms(systems: Sequence[_Drawn], cost_name: str) -> Figure:
    figure, panels = _score_panels(systems, "trials of the class, %")
    for system, axes in zip(systems, panels, strict=True):
        edges = np.linspace(*axes.get_xlim(), 61)
        for scores, colour, line, name in (
            (system.bonafide, BONAFIDE_COLOUR, "-", "bona fide"),
            (system.spoof, SPOOF_COLOUR, "--", "spoof"),
        ):
            share = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
            axes.stairs(100 * share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(100 * share, edges, color=colour, linestyle=line, linewidth=1.2, label=name)
        axes.axvline(system.eer.threshold, color=INK, linewidth=1.1, label="threshold of the EER")
        axes.axvline(system.cheapest.threshold, color=INK, linewidth=1.1, linestyle=":", label=f"of {cost_name}")
        axes.set(title=system.name, xlabel="score (higher = bona fide)")
        axes.set_ylim(bottom=0)
    _one_legend(figure, panels)
    return figure


def _cost(systems: Sequence[_Drawn], name: str) -> Figure:
    figure, panels = _score_panels(systems, f"normalised {name}")
    for system, axes in zip(systems, panels, strict=True):
        low, high = axes.get_xlim()
        thresholds, values = system.curve.thresholds, system.cost(system.curve.p_miss, system.curve.p_fa)
        shown = (thresholds >= low) & (thresholds <= high)
        curve = _thinned(thresholds[shown], values[shown], 1000)
        axes.plot(*curve, color=COLOURS[0], label=f"normalised {name}")
        axes.axhline(1, color=INK, linewidth=0.9, linestyle="--", label="cost of a constant answer")
        axes.axvline(system.eer.threshold, color=INK, linewidth=1.1, label="threshold of the EER")
        at = system.cheapest
        axes.plot(at.threshold, at.value, color=COLOURS[0], label="minimum", zorder=4, **_COST_MARK)
        axes.set(title=f"{system.name}\nminimum {at.value:.4f}", xlabel="threshold (score)")
        axes.set_ylim(0, min(max(1.25, float(values[shown].max()) * 1.05), 2.0))
    _one_legend(figure, panels)
    return figure


def _score_panels(systems: Sequence[_Drawn], label: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each system, over the range where nearly all its scores lie."""
    figure, panels = _panels(len(systems), *_PANEL[len(systems) == 1], below=0.5)
    for system, axes in zip(systems, panels, strict=True):
        low, high = (float(v) for v in np.quantile(system.result.scores.scores, [0.0005, 0.9995]))
        axes.set_xlim((low, high) if high > low else (low - 0.5, high + 0.5))
    _label_left(panels, label)
    return figure, panels


def _attacks(systems: Sequence[_Drawn]) -> Figure:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    groups = [system.result.groups("attack") for system in systems]
    most, single = max(map(len, groups)), len(systems) == 1
    longest = max(len(group.name) for found in groups for group in found)
    width = max(6.2 if single else 3.4, (0.42 if single else 0.22) * most + 0.8)
    upright = longest * 0.065 > (width - 0.8) / most
    figure, panels = _panels(len(systems), width, 2.6 if single else 2.3, below=0.35)
    for system, found, axes in zip(systems, groups, panels, strict=True):
        _bars(axes, [group for group in found if group.evaluation], system.colour, single)
        axes.set_title(system.name)
        axes.tick_params(axis="x", labelrotation=90 if upright else 0, length=0)
        axes.grid(visible=False, axis="x")
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    _label_left(panels, "EER, %")
    handles: list[Artist] = [Patch(facecolor=FAINT, edgecolor=INK, hatch="////", label="all attacks pooled")]
    if any(EER in group.intervals and group.intervals[EER].low is not None for found in groups for group in found):
        handles.append(Line2D([], [], color=INK, linewidth=1.1, label="95 % interval"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _bars(axes: Axes, groups: Sequence[Group], colour: str, with_values: bool) -> None:
    """Draw one bar for each group, with its interval; the last group is the pooled one."""
    values = np.array([100 * group.evaluation.eer.value if group.evaluation else 0 for group in groups])
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
        # Beside several systems there is room for a 0 only: a bar without height would look like a missing one.
        if with_values or not values[k]:
            word, size = (f"{values[k]:.1f}", 7.5) if with_values else ("0", 7)
            axes.annotate(word, (k, tops[k]), (0, 3), textcoords="offset points", ha="center", fontsize=size)
    axes.set_xticks(range(len(groups)), [group.name for group in groups])
    axes.set_xlim(-0.7, len(groups) - 0.3)
    axes.set_ylim(0, max(float(tops.max()) * 1.12, 1.0))


def _label_left(panels: Sequence[Axes], label: str) -> None:
    for axes in panels:
        if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.set_ylabel(label)


def _one_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles, labels = panels[0].get_legend_handles_labels()
    # Four entries fit beside each other under three panels, two under fewer.
    figure.legend(handles, labels, loc="outside lower center", ncols=4 if len(panels) > 4 else 2)
