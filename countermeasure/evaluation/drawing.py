"""The look that all pictures share, panels and legends, and how pictures are written.

Colours are those of M. Okabe and K. Ito's palette for colour-blind readers that stand out on white and on black.
Systems also differ in their line styles, so that a print in grey can be read. No display is needed.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole
from tDCF_python import metrics
from tDCF_python.metrics import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from countermeasure.evaluation.results import SystemResult

INK = "#24292f"
FAINT = "#c8ced6"
PAPER = "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 2)))
BONAFIDE_COLOUR, SPOOF_COLOUR = COLOURS[0], COLOURS[1]
STEPS = (1, 2, 5, 10)  # of an axis' numbers, times a power of ten
EER_MARK: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "", "clip_on": False, "zorder": 4}
COST_MARK: dict[str, Any] = EER_MARK | {"marker": "D", "markersize": 8, "mfc": "none", "mew": 1.4}

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
    "path.simplify_threshold": 0.4,  # pixels: curves of many trials stay small files
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "tDCF_python",  # the same file from the same scores
    "text.parse_math": False,  # a $ in a name is a $
}
_LONGEST_NAME = 34  # letters; a longer name is shortened in the middle


class Drawn(NamedTuple):
    """What the pictures need of one system, and how its lines look."""

    result: SystemResult
    name: str
    bonafide: Floats
    spoof: Floats
    curve: metrics.DetCurve
    eer: metrics.Point
    cheapest: metrics.Point
    digits: int  # decimals of rates in percent; costs have one more
    colour: str
    line: Any


def drawn(k: int, result: SystemResult, cost_name: str, digits: int) -> Drawn:
    """Return what the pictures need of the system at place `k`."""
    scores, name = result.scores, result.name
    bonafide, spoof = scores.classes
    return Drawn(
        result,
        name if len(name) <= _LONGEST_NAME else f"{name[:16]}…{name[-17:]}",
        bonafide,
        spoof,
        metrics.det_curve(bonafide, spoof),
        result.evaluation.eer,
        getattr(result.evaluation, cost_name),
        digits,
        COLOURS[k % len(COLOURS)],
        # With more systems than colours, colours repeat with other lines.
        LINES[(k + k // len(COLOURS)) % len(LINES)],
    )


def write(figure: Figure, file: IO[bytes], kind: str) -> None:
    """Write a picture as PNG, SVG or PDF into an open file; the same picture gives the same bytes."""
    with house_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # letters that the font lacks are shown as boxes
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)


def save(figure: Figure, path: Path) -> None:
    """Write a picture in the format that the path's ending names."""
    with replace_when_whole(path) as f:
        write(figure, f, path.suffix.lstrip(".").lower())


def save_all(figures: Mapping[str, Figure], folder: str | os.PathLike[str]) -> list[Path]:
    """Write pictures into a folder, each as PNG and as SVG, and return their paths."""
    paths = [Path(folder) / f"{name}.{kind}" for name in figures for kind in ("png", "svg")]
    for path in paths:
        save(figures[path.stem], path)
    return paths


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raise InputError, before long work, if matplotlib is missing or a file has the name of the folder."""
    require_matplotlib()
    if Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"{folder}: is a file; give the name of a folder for the pictures")


def require_matplotlib() -> None:
    """Raise InputError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("pictures need matplotlib; install it with: pip install 'matplotlib>=3.7'") from None


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in this suite's look during the block; raise InputError if matplotlib is missing."""
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context(_LOOK):  # type: ignore[arg-type]
        yield


def figure_of(width: float, height: float) -> Figure:
    """Return an empty picture of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(n: int, columns: int, width: float, height: float, below: float) -> tuple[Figure, list[Axes]]:
    """Return a picture of equal panels, each of a size in inches, with room below for a legend."""
    rows = -(-n // columns)
    figure = figure_of(width * columns, height * rows + below)
    return figure, [figure.add_subplot(rows, columns, k + 1) for k in range(n)]


def columns_for(n: int) -> int:
    """Return how many of `n` panels stand side by side."""
    return 1 if n == 1 else 2 if n <= 4 else 3


def label_left(axes_of_panels: Sequence[Axes], label: str) -> None:
    """Label the vertical axis of the panels at the left edge."""
    for axes in axes_of_panels:
        if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.set_ylabel(label)


def legend_below(figure: Figure, axes_of_panels: Sequence[Axes], columns: int) -> None:
    """Draw one legend for all panels, below them."""
    entries: dict[str, Any] = {}
    for axes in axes_of_panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend([*entries.values()], [*entries], loc="outside lower center", ncols=columns)


def score_axis(axes: Axes, system: Drawn, n_numbers: int) -> tuple[float, float]:
    """Limit the horizontal axis to the range of most scores of each class, with few ticks; return its ends."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    ends = [_most(scores) for scores in (system.bonafide, system.spoof)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    largest = max(abs(low), abs(high))
    if high - low <= 1e-6 * largest:  # a few digits could not tell its numbers apart
        low, high = low - max(0.5, 1e-3 * largest), high + max(0.5, 1e-3 * largest)
    margin = 0.02 * (high - low)
    low, high = low - margin, high + margin
    axes.set_xlim(low, high)
    digits = math.log10(max(abs(low), abs(high)) / (high - low))  # that the numbers of an axis have in common
    axes.xaxis.set_major_locator(MaxNLocator(n_numbers - round(min(max(digits, 0), 3)), steps=STEPS))
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_powerlimits((-3, 5))
    axes.xaxis.set_major_formatter(formatter)
    return low, high


def _most(scores: Floats) -> tuple[float, float]:
    """Return the range of the middle 99 % of scores, at most twice the width of the middle 80 % beyond these.

    So a few outliers do not squeeze the other scores into a single line.
    """
    least, tenth, ninth, most = (float(v) for v in np.quantile(scores, (0.005, 0.1, 0.9, 0.995)))
    reach = 2 * (ninth - tenth)
    return (max(least, tenth - reach), min(most, ninth + reach)) if reach else (least, most)
