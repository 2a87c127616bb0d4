"""Where a recording sounds fake: the LLR of its frames above its spectrogram."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError
from countermeasure.evaluation import drawing
from countermeasure.features.types import Window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_SMOOTH_S, _SMOOTH_SHARE = 0.25, 1 / 150  # the curve is a mean over this time, in long recordings over this share
_SPECTRUM_S = 0.025
_COLUMNS = 2400  # of the spectrogram at most; there are fewer pixels
_DYNAMIC_DB = 80
_FRAMES = 4000  # more frames than this are not drawn one by one


def check(path: str | os.PathLike[str]) -> None:
    """Raise InputError if the picture cannot be written, before long work starts."""
    if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"--frames {path}: give the name of a picture, which ends in .png, .svg or .pdf")
    drawing.require_matplotlib()


def draw(
    path: str | os.PathLike[str],
    title: str,
    signal: NDArray[np.float32],
    rate: int,
    frames: NDArray[np.float64],
    window: Window,
    threshold: float | None,
) -> None:
    """Draw the LLR of each frame of a recording, ``[n_frames]``, above the spectrogram of the signal as it was scored.

    The threshold is for their mean; None if the recording is judged by another score.
    """
    with drawing.house_style():
        figure = drawing.figure_of(9, 5)
        grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.2), width_ratios=(1, 0.018))
        above, below, bar = (figure.add_subplot(grid[place]) for place in ((0, 0), (1, 0), (1, 1)))
        duration = len(signal) / rate
        length, hop = (n / rate for n in window.samples(rate))
        time = np.arange(len(frames), dtype=np.float64) * hop + length / 2
        n_smooth = max(1, round(max(_SMOOTH_S, duration * _SMOOTH_SHARE) / hop))
        _draw_llr(above, time, frames, n_smooth, f"mean over {n_smooth * hop:.2g} s", threshold)
        image = _draw_spectrogram(below, signal, rate)
        figure.colorbar(image, cax=bar, label="level below the loudest, dB")
        bar.grid(False)
        for axes in (above, below):
            axes.set_xlim(0, duration)
        above.tick_params(labelbottom=False)
        below.set_xlabel("time, s")
        figure.suptitle(os.fsencode(title).decode(errors="replace"), fontsize=10, parse_math=False)
        drawing.save(figure, Path(path))


def _draw_llr(
    axes: Axes,
    time: NDArray[np.float64],
    frames: NDArray[np.float64],
    n_smooth: int,
    label: str,
    threshold: float | None,
) -> None:
    around = np.ones(min(n_smooth, len(frames)))
    smooth = np.convolve(frames, around, "same") / np.convolve(np.ones(len(frames)), around, "same")
    line = 0.0 if threshold is None else threshold
    shown = frames if len(frames) <= _FRAMES else smooth
    if shown is frames:
        axes.plot(time, frames, color=drawing.FAINT, linewidth=0.6, label="frames")
    axes.plot(time, smooth, color=drawing.INK, linewidth=1.3, label=label)
    for where, colour, what in (
        (smooth > line, drawing.BONAFIDE_COLOUR, "sounds bona fide"),
        (smooth <= line, drawing.SPOOF_COLOUR, "sounds spoofed"),
    ):
        axes.fill_between(time, smooth, line, where, True, color=colour, alpha=0.45, linewidth=0, label=what)
    line_name = "LLR 0" if threshold is None else f"threshold ({line:.2f})"
    axes.axhline(line, color=drawing.INK, linewidth=0.9, linestyle="--", label=line_name)
    low, high = np.quantile(shown, (0.01, 0.99))
    low, high = min(low, smooth.min(), line), max(high, smooth.max(), line)
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel("LLR of a frame, nats\n(higher = more bona fide)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5)


def _draw_spectrogram(axes: Axes, signal: NDArray[np.float32], rate: int) -> AxesImage:
    length = int(_SPECTRUM_S * rate)
    signal = np.pad(signal, (length // 2, length))  # so that a column lies at its middle
    hop = max(length // 5, (len(signal) - length) // _COLUMNS)
    columns = np.lib.stride_tricks.sliding_window_view(signal, length)[::hop]
    spectra = np.abs(np.fft.rfft(columns * np.hanning(length), 2 * length)).astype(np.float32)
    level = 20 * np.log10(np.maximum(spectra, 1e-9))
    image = axes.imshow(
        level.T - level.max(),
        origin="lower",
        aspect="auto",
        extent=(-hop / 2 / rate, (len(columns) - 0.5) * hop / rate, 0, rate / 2000),
        cmap="magma",
        vmin=-_DYNAMIC_DB,
        vmax=0,
        interpolation="bilinear",
    )
    axes.set_ylabel("frequency, kHz")
    axes.grid(False)
    return image
