"""How well scores are calibrated: what they mean as log-likelihood ratios, and what they cost at any prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from countermeasure.evaluation import drawing
from countermeasure.evaluation.drawing import COLOURS, COST_MARK, EER_MARK, INK, Drawn
from tDCF_python import calibration, metrics
from tDCF_python.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PRIORS = np.linspace(-5, 5, 201)  # log-odds of bona fide: probabilities of 0.7 to 99.3 %
_WIDTH, _HEIGHT = 3.2, 2.5  # inches of a panel
_ACTUAL, _LEAST = COLOURS[0], COLOURS[1]
_AS_THEY_ARE, _BEST = "scores as they are", "best calibration of the scores (PAV)"


def draw(systems: Sequence[Drawn]) -> Figure:
    """Draw two panels for each system: its scores as log-likelihood ratios, and errors over the prior."""
    columns = 2 if len(systems) <= 3 else 4
    figure, panels = drawing.panels(2 * len(systems), columns, _WIDTH, _HEIGHT, below=0.65)
    for system, scores_panel, priors_panel in zip(systems, panels[::2], panels[1::2], strict=True):
        best = calibration.pav(system.bonafide, system.spoof)
        _draw_scores(scores_panel, system, best)
        _draw_priors(priors_panel, system, best)
    drawing.legend_below(figure, panels, 2 if columns == 2 else 4)
    return figure


def _draw_scores(axes: Axes, system: Drawn, best: Calibration) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = drawing.score_axis(axes, system, 5)
    finite = [-1.5, *best.llrs[np.isfinite(best.llrs)], 1.5]
    bottom, top = float(min(finite)), float(max(finite))
    margin = 0.1 * (top - bottom)
    bottom, top = bottom - margin, top + margin
    llrs = np.clip(best.llrs, bottom - margin, top + margin)  # infinite values leave the panel
    axes.plot(best.scores, llrs, color=_LEAST, label=_BEST)
    axes.plot((low, high), (low, high), color=_ACTUAL, linestyle="--", label=_AS_THEY_ARE)
    axes.set(title=system.name, xlabel="score", ylabel="log-likelihood ratio, nats", ylim=(bottom, top))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=drawing.STEPS))


def _draw_priors(axes: Axes, system: Drawn, best: Calibration) -> None:
    actual, least = best.bayes_errors(_PRIORS)
    axes.plot(_PRIORS, actual, color=_ACTUAL, linestyle="--", label=_AS_THEY_ARE)
    axes.plot(_PRIORS, least, color=_LEAST, label=_BEST)
    axes.axhline(1, color=INK, linewidth=0.9, linestyle="--", label="constant answer")
    found, prior = system.result.evaluation, -metrics.bayes_threshold()
    top = min(max(1.25, 1.05 * float(actual.max())), 2.0)
    axes.axvline(prior, color=INK, linewidth=0.9, linestyle=":", label="prior and costs of the DCF")
    if found.actual_dcf <= top:
        axes.plot(prior, found.actual_dcf, color=_ACTUAL, label="actual DCF", **EER_MARK)
    axes.plot(prior, found.min_dcf.value, color=_LEAST, label="min DCF", **COST_MARK)
    axes.set(xlabel="prior log-odds of bona fide", ylabel="normalised error rate")
    axes.set(xlim=(_PRIORS[0], _PRIORS[-1]), ylim=(0, top))
    n = system.digits + 1
    pairs = (("C_llr", found.cllr, best.cllr), ("DCF", found.actual_dcf, found.min_dcf.value))
    axes.set_title("\n".join(f"{name} {at:.{n}f}, min {least_at:.{n}f}" for name, at, least_at in pairs))
