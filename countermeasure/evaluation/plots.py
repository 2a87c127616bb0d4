"""Pictures of scores and of what they cost, in one look for all.

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
import numpy.typing as npt

from countermeasure.errors import InputError
from countermeasure.evaluation.tables import FIGURES, percent
from countermeasure.files import replace_when_whole
from tDCF_python import metrics
from tDCF_python.evaluation import EER, MIN_DCF, cost_functions, tdcf_name
from tDCF_python.metrics import AsvRates, Floats, LinearCost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from countermeasure.evaluation.study import Group, Study, SystemResult

INK = "#24292f"
FAINT = "#c8ced6"
PAPER = "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 2)))
BONAFIDE_COLOUR, SPOOF_COLOUR = COLOURS[0], COLOURS[1]
FORMATS = ("png", "svg")

_LOOK = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 200,
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "tDCF_python",  # the same file from the same scores
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.color": INK,
    "ytick.labelsize": 8,
}
_DET_TICKS = (
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    0.9,
    0.95,
    0.99,
    0.999,
)
_EER_MARK: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": ""}
_COST_MARK: dict[str, Any] = {
    "marker": "D",
    "markersize": 8,
    "linestyle": "",
    "markerfacecolor": "none",
    "markeredgewidth": 1.4,
}
_PANEL = {True: (5.4, 3.0), False: (3.2, 2.3)}  # width and height in inches, of a single one and of several
_LONGEST_NAME = 34  # letters; a longer one loses its middle


@dataclass(frozen=True)
class _Drawn:
    """What the pictures need of one system."""

    name: str
    bonafide: Floats
    spoof: Floats
    curve: metrics.DetCurve
    eer: metrics.Point
    cost: LinearCost
    cheapest: metrics.Point
    colour: str
    line: Any


def det(
    systems: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    path: str | os.PathLike[str],
    asv: AsvRates | None = None,
    legacy: bool = True,
) -> None:
    """Draw the DET curves of systems on normal-deviate axes, with their EER and least-cost points.

    Parameters
    ----------
    systems : mapping from name to (bona fide scores, spoof scores)
    path : path of the picture
        Its ending decides the format: ``.png``, ``.svg`` or ``.pdf``.
    asv : AsvRates, optional
        The least cost is that of t-DCF with these rates, of DCF without.
    legacy : bool
        Whether that t-DCF is the one of 2019, not the revisited one.

    Raises
    ------
    InputError
        When a system has no score of a class, or when matplotlib is missing.
    """
    with house_style():
        save(_det(_drawn(systems, asv, legacy), _cost_figure(asv, legacy)), path)


def pictures(study: Study) -> dict[str, Figure]:
    """Return the pictures of a study by the name of their file.

    ``det``; ``histograms`` of the scores with thresholds; ``cost`` over the threshold; ``attacks``,
    EER by attack with intervals, where the trials name attacks.

    Raises
    ------
    InputError
        When matplotlib is missing.
    """
    rates = study.rates
    figure = _cost_figure(rates, study.legacy)
    scores = {
        system.name: (system.scores.scores[system.scores.bonafide], system.scores.scores[~system.scores.bonafide])
        for system in study.systems
    }
    with house_style():
        drawn = _drawn(scores, rates, study.legacy)
        found = {
            "det": _det(drawn, figure),
            "histograms": _histograms(drawn, figure),
            "cost": _cost(drawn, figure),
        }
        with_attacks = [(system, look) for system, look in zip(study.systems, drawn, strict=True) if system.attacks]
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
    """Write pictures into a folder, each as PNG and as SVG, and return their paths.

    Raises
    ------
    InputError
        When there is a file of the folder's name.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"{folder}: is a file; give the name of a folder for the pictures")
    paths = [Path(folder) / f"{name}.{kind}" for name in figures for kind in FORMATS]
    for path in paths:
        save(figures[path.stem], path)
    return paths


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


def _cost_figure(asv: AsvRates | None, legacy: bool) -> str:
    return tdcf_name(legacy) if asv else MIN_DCF


def _drawn(
    systems: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], asv: AsvRates | None, legacy: bool
) -> list[_Drawn]:
    cost = cost_functions(asv)[_cost_figure(asv, legacy)]
    drawn = []
    for k, (name, (bonafide, spoof)) in enumerate(systems.items()):
        curve = metrics.det_curve(bonafide, spoof)
        drawn.append(
            _Drawn(
                name if len(name) <= _LONGEST_NAME else f"{name[:16]}…{name[-17:]}",
                np.asarray(bonafide, np.float64),
                np.asarray(spoof, np.float64),
                curve,
                metrics.eer_point(curve),
                cost,
                metrics.min_cost(curve, cost),
                COLOURS[k % len(COLOURS)],
                # After as many systems as there are colours, colours come back with other lines.
                LINES[(k + k // len(COLOURS)) % len(LINES)],
            )
        )
    return drawn


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


def _det(systems: Sequence[_Drawn], cost_figure: str) -> Figure:
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
        line.set_label(
            f"{system.name}: EER {percent(system.eer.value, 2)}, {FIGURES[cost_figure]} {system.cheapest.value:.4f}"
        )
        handles.append(line)
        for point, mark in ((system.eer, _EER_MARK), (system.cheapest, _COST_MARK)):
            if max(point.p_fa, point.p_miss) <= high:
                at = ndtri(np.maximum([point.p_fa, point.p_miss], low))
                axes.plot(*at, color=system.colour, clip_on=False, zorder=4, **mark)
    handles.append(Line2D([], [], color=INK, label="equal error rate", **_EER_MARK))
    handles.append(Line2D([], [], color=INK, label=FIGURES[cost_figure], **_COST_MARK))
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


def _score_range(system: _Drawn) -> tuple[float, float]:
    """Return where nearly all scores of a system lie."""
    scores = np.concatenate([system.bonafide, system.spoof])
    low, high = (float(v) for v in np.quantile(scores, [0.0005, 0.9995]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _histograms(systems: Sequence[_Drawn], cost_figure: str) -> Figure:
    figure, panels = _panels(len(systems), *_PANEL[len(systems) == 1], below=0.5)
    for system, axes in zip(systems, panels, strict=True):
        low, high = _score_range(system)
        edges = np.linspace(low, high, 61)
        for scores, colour, line, name in (
            (system.bonafide, BONAFIDE_COLOUR, "-", "bona fide"),
            (system.spoof, SPOOF_COLOUR, "--", "spoof"),
        ):
            share = np.histogram(np.clip(scores, low, high), edges)[0] / len(scores)
            axes.stairs(100 * share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(100 * share, edges, color=colour, linestyle=line, linewidth=1.2, label=name)
        axes.axvline(system.eer.threshold, color=INK, linewidth=1.1, label="threshold of the EER")
        axes.axvline(
            system.cheapest.threshold, color=INK, linewidth=1.1, linestyle=":", label=f"of {FIGURES[cost_figure]}"
        )
        axes.set(title=system.name, xlabel="score (higher = bona fide)", xlim=(low, high))
        axes.set_ylim(bottom=0)
    _label_left(panels, "trials of the class, %")
    _one_legend(figure, panels)
    return figure


def _cost(systems: Sequence[_Drawn], cost_figure: str) -> Figure:
    name = FIGURES[cost_figure].removeprefix("min ")
    figure, panels = _panels(len(systems), *_PANEL[len(systems) == 1], below=0.5)
    for system, axes in zip(systems, panels, strict=True):
        low, high = _score_range(system)
        values = system.cost(system.curve.p_miss, system.curve.p_fa)
        shown = (system.curve.thresholds >= low) & (system.curve.thresholds <= high)
        axes.plot(
            *_thinned(system.curve.thresholds[shown], values[shown], 1000), color=COLOURS[0], label=f"normalised {name}"
        )
        axes.axhline(1, color=INK, linewidth=0.9, linestyle="--", label="cost of a constant answer")
        axes.axvline(system.eer.threshold, color=INK, linewidth=1.1, label="threshold of the EER")
        axes.plot(
            system.cheapest.threshold,
            system.cheapest.value,
            color=COLOURS[0],
            label="minimum",
            zorder=4,
            **_COST_MARK,
        )
        axes.set(
            title=f"{system.name}\nminimum {system.cheapest.value:.4f}", xlabel="threshold (score)", xlim=(low, high)
        )
        axes.set_ylim(0, min(max(1.25, float(values[shown].max()) * 1.05), 2.0))
    _label_left(panels, f"normalised {name}")
    _one_legend(figure, panels)
    return figure


def _attacks(systems: Sequence[tuple[SystemResult, _Drawn]]) -> Figure:
    from matplotlib.patches import Patch

    most = max(len(system.groups("attack")) for system, _ in systems)
    single = len(systems) == 1
    longest = max(len(group.name) for system, _ in systems for group in system.groups("attack"))
    width = max(6.2 if single else 3.4, (0.42 if single else 0.22) * most + 0.8)
    upright = longest * 0.065 > (width - 0.8) / most
    figure, panels = _panels(len(systems), width, 2.6 if single else 2.3, below=0.35)
    for (system, look), axes in zip(systems, panels, strict=True):
        _bars(axes, [group for group in system.groups("attack") if group.evaluation], look.colour, single)
        axes.set_title(look.name)
        axes.tick_params(axis="x", labelrotation=90 if upright else 0, length=0)
        axes.grid(visible=False, axis="x")
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    _label_left(panels, "EER, %")
    handles = [Patch(facecolor=FAINT, edgecolor=INK, hatch="////", label="all attacks pooled")]
    if any(system.resampling for system, _ in systems):
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], color=INK, linewidth=1.1, label="95 % interval"))  # type: ignore[arg-type]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _bars(axes: Axes, groups: Sequence[Group], colour: str, with_values: bool) -> None:
    """Draw a bar a group with its interval, the last one as the pooled one."""
    values = np.array([100 * group.evaluation.eer.value if group.evaluation else 0 for group in groups])
    tops = values.copy()
    for k, group in enumerate(groups):
        pooled = k == len(groups) - 1
        axes.bar(
            k,
            values[k],
            width=0.72,
            color=FAINT if pooled else colour,
            edgecolor=INK if pooled else colour,
            hatch="////" if pooled else None,
            linewidth=0.8,
        )
        if EER in group.intervals:
            low, high = 100 * group.intervals[EER].low, 100 * group.intervals[EER].high
            axes.plot([k, k], [low, high], color=INK, linewidth=1.1)
            axes.plot([k, k], [low, high], color=INK, linestyle="", marker="_", markersize=5)
            tops[k] = max(tops[k], high)
    if with_values:
        for k, value in enumerate(values):
            axes.annotate(
                f"{value:.1f}", (k, tops[k]), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=7.5
            )
    else:
        for k in np.flatnonzero(values == 0).tolist():  # a bar without height would look like a missing one
            axes.annotate("0", (k, tops[k]), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=7)
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
