"""What a result is written to: pictures, the report page, JSON and CSV. Rates in JSON and CSV are fractions."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from html import escape
from itertools import combinations
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from countermeasure import __version__, cli
from countermeasure.errors import InputError
from countermeasure.evaluation import drawing, plots, tables
from countermeasure.evaluation.asvspoof import data_set
from countermeasure.evaluation.results import Group, Study, SystemResult
from countermeasure.evaluation.tables import FIGURES, Table, percent
from countermeasure.files import refuse_overwriting, replace_when_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]
_STDOUT = "-"
_COLUMNS = [
    *("system", "by", "group", "n_bonafide", "n_spoof"),
    *(f"{name}{part}" for name in FIGURES for part in ("", "_low", "_high", "_threshold", "_p_miss", "_p_fa")),
    *("actual_dcf", "cllr", "sha256", "suite"),
]
_SMALLEST = 0.6  # of a picture's size: the smallest letters are of 5 points then
_CAPTIONS = {
    "det": "Detection error trade-off. The closer to the lower left, the better; the grey line is where both error "
    "rates are equal.",
    "histograms": "Scores of both classes and the thresholds of the two operating points. Scores beyond the picture "
    "are counted at its edge.",
    "cost": "Cost over the threshold; the number above a picture is its minimum.",
    "calibration": "Left: what a score says as a log-likelihood ratio (the best map that never falls, PAV) and what it "
    "claims to say (broken line). Right: error rate over the prior, normalised by that of a constant answer. The gap "
    "between the lines is what a better calibration would save.",
    "attacks": "Equal error rate by attack: an attack's spoofs against all bona fide trials.",
}


def check(
    inputs: Iterable[PathLike],
    plot: str | None = None,
    report: str | None = None,
    json: str | None = None,
    csv: str | None = None,
) -> None:
    """Refuse names for what is to be written, before anything is worked out.

    Raises
    ------
    InputError
        When a name is that of an input, of another output or of a folder; for pictures, that of a file.
    """
    inputs = list(inputs)
    files = [path for path in (report, json, csv) if path and path != _STDOUT]
    for path in files:
        refuse_overwriting(path, *inputs)
    for one, other in combinations([*files, *([plot] if plot else [])], 2):
        if os.path.realpath(one) == os.path.realpath(other) and one != os.devnull:
            raise InputError(f"{one}: two outputs of this name; choose another one for one of them")
    if plot:
        drawing.check_folder(plot)


def write(
    study: Study, plot: str | None = None, report: str | None = None, json: str | None = None, csv: str | None = None
) -> None:
    """Write what the options of these names ask for, and say what was written."""
    pictures = plots.pictures(study) if plot or report else {}
    if plot:
        paths = drawing.save_all(pictures, plot)
        names = ", ".join(path.name for path in paths if path.suffix == ".png")
        cli.log(f"pictures in {plot}: {names}; each as .svg, too")
    if report:
        _write(report, to_html(study, pictures))
        cli.log(f"report: {report}")
    if json:
        _write(json, to_json(study))
    if csv:
        _write(csv, to_csv(study))


def _write(path: str, text: str) -> None:
    """Write a text, or print it where the path is ``-``."""
    if path == _STDOUT:
        sys.stdout.write(text)
        return
    with replace_when_whole(path, text=True) as f:
        f.write(text)


def to_json(study: Study) -> str:
    """Return everything as one JSON object."""
    content = {
        "suite": __version__,
        "legacy": study.legacy,
        "by": study.by,
        "costs": asdict(study.costs),
        "asv": asdict(study.asv) if study.asv else None,
        "systems": [
            {
                "name": system.name,
                "cm_score": system.scores.path,
                "sha256": system.scores.sha256,
                "signature": study.signature(system),
                "pooled": asdict(system.pooled),
                "groups": [asdict(group) for group in system.parts],
                "threshold_from": [asdict(applied) for applied in system.applied],
                "units": {"over": system.units.over, "n": len(system.units)} if system.units else None,
            }
            for system in study.systems
        ],
        "comparisons": [asdict(comparison) for comparison in study.comparisons],
        "notes": list(study.notes),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(study: Study) -> str:
    """Return a line for each system's groups, the pooled one last."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for system in study.systems:
        for group in (*system.parts, system.pooled):
            writer.writerow(_csv_line(system, group))
    return out.getvalue()


def _csv_line(system: SystemResult, group: Group) -> dict[str, Any]:
    line: dict[str, Any] = {"system": system.name, "by": ",".join(group.by), "group": group.name}
    line |= {"n_bonafide": group.n_bonafide, "n_spoof": group.n_spoof}
    line |= {"sha256": system.scores.sha256, "suite": __version__}
    if group.evaluation is None:
        return line
    line |= {"actual_dcf": group.evaluation.actual_dcf, "cllr": group.evaluation.cllr}
    for name in FIGURES:
        if point := getattr(group.evaluation, name):
            line[name] = point.value
            line |= {f"{name}_{part}": getattr(point, part) for part in ("threshold", "p_miss", "p_fa")}
        if interval := group.intervals.get(name):
            line |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return line


def to_html(study: Study, pictures: Mapping[str, Figure]) -> str:
    """Return the report as one HTML page that needs nothing else.

    Parameters
    ----------
    study : Study
    pictures : mapping from name to Figure
        Of `plots.pictures`.
    """
    template = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
    shown = {name: _picture(name, figure) for name, figure in pictures.items()}
    attacks = shown.pop("attacks", "")
    sections = {
        "Results": [
            _list(tables.summary(study)),
            _table(tables.systems(study)),
            f"<p>{escape(_verification(study))}</p>",
        ],
        "How sure": [_table(tables.intervals(study)), _table(tables.comparisons(study))],
        f"By {' and '.join(study.by)}": [attacks, *map(_table, tables.by_group(study)), _list(tables.worst(study))],
        "At thresholds set elsewhere": [_table(tables.applied(study))],
        "Notes": [_list(study.notes)],
        "Pictures": [f'<div class="pictures">{"".join(shown.values())}</div>' if shown else ""],
    }
    known = {name for system in study.systems if (name := data_set(system.scores))}
    about = [date.today().isoformat(), *(known if len(known) == 1 else ()), tables.trials(study)]
    return template.substitute(
        names=escape(", ".join(system.name for system in study.systems)),
        results="\n".join([f'<p class="soft">{escape("; ".join(about))}</p>', *_sections(sections)]),
        signatures="\n".join(f"<p><code>{escape(study.signature(system))}</code></p>" for system in study.systems),
    )


def _sections(bodies: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for title, body in bodies.items():
        if any(body):
            yield "\n".join([f"<section><h2>{escape(title)}</h2>", *filter(None, body), "</section>"])


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _verification(study: Study) -> str:
    if study.asv is None:
        return tables.WITHOUT_ASV
    rates = study.asv.rates
    return (
        f"Speaker verification system ({study.asv.source}): EER {percent(rates.eer, 3)} at threshold "
        f"{rates.threshold:.6f}; there it accepts {percent(rates.p_fa, 3)} of nontargets and rejects "
        f"{percent(rates.p_miss, 3)} of targets and {percent(rates.p_miss_spoof, 3)} of spoofs."
    )


def _table(table: Table | None) -> str:
    if table is None:
        return ""
    header = "".join(f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in cells)}</tr>" for cells in table.header)
    last = len(table.rows) - 1
    body = []
    for row, cells in enumerate(table.rows):
        words = [f"<b>{escape(cell)}</b>" if (row, k) in table.best else escape(cell) for k, cell in enumerate(cells)]
        if cells[0] in table.about:
            words[0] += f' <span class="soft">{escape(table.about[cells[0]])}</span>'
        kind = ' class="total"' if table.total and row == last else ""
        body.append(f"<tr{kind}>{''.join(f'<td>{word}</td>' for word in words)}</tr>")
    return (
        f'<div class="table"><h3>{escape(table.caption)}</h3><div class="wide"><table>'
        f"<thead>{header}</thead><tbody>{''.join(body)}</tbody></table></div></div>"
    )


def _picture(name: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    drawing.write(figure, buffer, "svg")
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    # Names must not clash between pictures of one page, and ink and paper are the reader's.
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in ((drawing.INK, "ink"), (drawing.FAINT, "faint"), (drawing.PAPER, "paper")):
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    caption = escape(_CAPTIONS[name])
    least = round(_SMALLEST * figure.get_size_inches()[0] * 72)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{caption}" style="min-width: {least}pt"', 1)
    return f"<figure><div>{svg}</div><figcaption>{caption}</figcaption></figure>"
