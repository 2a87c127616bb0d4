"""The results as one HTML file that needs nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from countermeasure.evaluation import plots, tables
from countermeasure.evaluation.report import WITHOUT_ASV
from countermeasure.evaluation.study import ATTACK, SPEAKER, Study, signature
from countermeasure.evaluation.tables import Table, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CAPTIONS = {
    "det": "Detection error trade-off. The closer to the lower left, the better; the grey line is where both error "
    "rates are equal.",
    "histograms": "Scores of both classes and the thresholds of the two operating points. Scores beyond the picture "
    "are counted at its edge.",
    "cost": "Cost over the threshold; the number above a picture is its minimum.",
    "attacks": "Equal error rate by attack: an attack's spoofs against all bona fide trials.",
}
_DEFINITIONS = (
    ("EER", "equal error rate: the mean of both error rates at the first point where they differ least."),
    (
        "min t-DCF",
        "least normalised tandem detection cost with the speaker verification system named above; 2019: T. Kinnunen "
        "et al., Odyssey 2018; revisited: T. Kinnunen et al., IEEE/ACM TASLP 2020.",
    ),
    (
        "min DCF, act. DCF",
        "normalised detection cost of the countermeasure alone, at its least and with the scores taken as "
        "log-likelihood ratios, as in ASVspoof 5.",
    ),
    ("C_llr", "cost of the scores as log-likelihood ratios; 0 is perfect, 1 says nothing."),
    (
        "intervals",
        "percentiles of the figure in resampled sets, the verification system's rates kept as they are; p by the same "
        "resampled sets, corrected by Holm's method.",
    ),
)
# Screens may be dark, paper is not.
_STYLE = """
:root { --ink: #24292f; --faint: #c8ced6; --paper: #ffffff; --soft: #57606a; --row: #f4f6f8; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #3d444d; --paper: #0d1117; --soft: #9aa4af; --row: #161b22; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 72rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p, ul { max-width: 46rem; } ul { padding-left: 1.2rem; } li { margin: .25rem 0; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .22rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: .3rem; }
thead th { font-weight: 600; padding-bottom: 0; }
thead tr:last-child th { border-bottom: 2px solid var(--ink); padding-bottom: .25rem; }
thead tr + tr th { font-weight: 400; color: var(--soft); }
tbody tr:nth-child(even) { background: var(--row); }
tbody tr.total td { border-top: 1.5px solid var(--ink); font-weight: 600; }
figure { margin: 1.2rem 0 2rem; }
figure svg { display: block; width: auto; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .88rem; max-width: 46rem; margin-top: .4rem; }
code { font: .78rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; max-width: 46rem; }
@media print {
  @page { margin: 14mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  .wide { overflow: visible; }
  table { font-size: 7pt; } th, td { padding: .1rem .22rem; }
  figure, tr, caption { break-inside: avoid; } h2 { break-after: avoid; } figure svg { max-height: 150mm; }
}
"""


def page(study: Study, pictures: Mapping[str, Figure]) -> str:
    """Return the report as HTML, pictures included.

    Parameters
    ----------
    study : Study
    pictures : mapping from name to Figure
        Of `plots.pictures`.
    """
    names = ", ".join(system.name for system in study.systems)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>Countermeasure evaluation: {escape(names)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Countermeasure evaluation</h1>",
        '<p class="soft">Bona fide speech against spoofs; a higher score means bona fide.</p>',
        *_section("Results", [_table(tables.systems(study)), _verification(study)]),
        *_section("How sure", [_optional(tables.intervals(study)), _list(tables.sentences(study))]),
        *_section("At thresholds set elsewhere", [_optional(tables.applied(study))]),
        *_section("Notes", [_list(study.notes)]),
        *_section("Pictures", [_picture(name, figure) for name, figure in pictures.items() if name != "attacks"]),
    ]
    for kind in (ATTACK, SPEAKER):
        body = [_picture(name, figure) for name, figure in pictures.items() if name == f"{kind}s"]
        body += [_table(table) for table in tables.by_group(study, kind)]
        worst = [line for line in tables.worst(study) if line.startswith(f"Worst {kind}")]
        parts += _section(f"By {kind}", [*body, _list(worst)])
    parts += _section("Definitions", ["<dl>", *(f"<dt>{t}</dt><dd>{escape(d)}</dd>" for t, d in _DEFINITIONS), "</dl>"])
    signatures = [f"<p><code>{escape(signature(system, study))}</code></p>" for system in study.systems]
    parts += [*_section("Signature", signatures), "</body></html>", ""]
    return "\n".join(parts)


def _section(title: str, body: Sequence[str]) -> list[str]:
    """Return a heading and what stands below it; nothing where that is nothing."""
    present = [part for part in body if part]
    return [f"<section><h2>{escape(title)}</h2>", *present, "</section>"] if present else []


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _list(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _verification(study: Study) -> str:
    if study.asv is None:
        return _paragraph(WITHOUT_ASV)
    rates = study.asv.rates
    return _paragraph(
        f"Speaker verification system ({study.asv.source}): EER {percent(rates.eer, 6)} at threshold "
        f"{rates.threshold:.6f}; there it accepts {percent(rates.p_fa, 6)} of nontargets and rejects "
        f"{percent(rates.p_miss, 6)} of targets and {percent(rates.p_miss_spoof, 6)} of spoofs."
    )


def _optional(table: Table | None) -> str:
    return _table(table) if table else ""


def _table(table: Table) -> str:
    header = "".join(_row(cells, "th", "") for cells in table.header)
    last = len(table.rows) - 1
    body = "".join(
        _row(cells, "td", ' class="total"' if table.total and k == last else "") for k, cells in enumerate(table.rows)
    )
    return (
        f'<div class="wide"><table><caption>{escape(table.caption)}</caption>'
        f"<thead>{header}</thead><tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[str], kind: str, attributes: str) -> str:
    return f"<tr{attributes}>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _picture(name: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    plots.write(figure, buffer, "svg")
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    # Names must not clash between pictures of one page, and ink and paper are the reader's.
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in ((plots.INK, "ink"), (plots.FAINT, "faint"), (plots.PAPER, "paper")):
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    caption = _CAPTIONS[name]
    label = f'<svg role="img" aria-label="{escape(caption)}"'
    return f"<figure>{svg.replace('<svg', label, 1)}<figcaption>{escape(caption)}</figcaption></figure>"
