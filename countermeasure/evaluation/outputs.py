"""Files of a result: pictures, the report page, JSON and CSV. Rates in JSON and CSV are fractions."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

from countermeasure import __version__, cli
from countermeasure.errors import InputError
from countermeasure.evaluation import advice, drawing, plots, tables, text
from countermeasure.evaluation.asvspoof import data_set
from countermeasure.evaluation.results import Group, Study, SystemResult
from countermeasure.evaluation.tables import FIGURES, HEADINGS, Table, percent
from countermeasure.files import refuse_overwriting, replace_when_whole
from tDCF_python.metrics import COSTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]
_STDOUT = "-"
_VALUES = [name for name in HEADINGS if name not in FIGURES]  # those without a threshold
_COLUMNS = [
    *("system", "by", "group", "n_bonafide", "n_spoof"),
    *(f"{name}{part}" for name in FIGURES for part in ("", "_low", "_high", "_threshold", "_p_miss", "_p_fa")),
    *(*_VALUES, "sha256", "suite"),
]
_SMALLEST = 0.6  # of a picture's size, at which the smallest letters have 5 points
_CAPTIONS = {
    "det": "Detection error trade-off. The closer to the lower left, the better; the grey line is where both error "
    "rates are equal.",
    "histograms": "Scores of both classes and the thresholds of the two operating points. Scores beyond the picture "
    "are counted at its edge, thresholds beyond it are not drawn.",
    "cost": "Cost over the threshold; the number above a picture is its minimum.",
    "calibration": "Left: the log-likelihood ratio of each score by the best non-decreasing map (PAV), and the score "
    "itself taken as one (dashed). Right: error rate over the prior, normalised by that of a constant answer. The gap "
    "between the lines is what better calibration would save.",
    "attacks": "Equal error rate by attack: an attack's spoofs against all bona fide trials.",
}


class Outputs(NamedTuple):
    """Where to write a result: the options of ``score_eval.py`` of the same names."""

    plot: str | None = None  # a folder
    report: str | None = None
    json: str | None = None  # a file, or - to print it
    csv: str | None = None

    @property
    def is_illustrated(self) -> bool:
        """Whether there will be pictures."""
        return bool(self.plot or self.report)

    @property
    def is_printed(self) -> bool:
        """Whether JSON or CSV takes the place of the text."""
        return _STDOUT in (self.json, self.csv)

    def check(self, inputs: Iterable[PathLike]) -> None:
        """Check the names of outputs before the evaluation starts.

        Raises
        ------
        InputError
            When a name is that of an input, of another output or of a folder; for pictures, that of a file; when the
            report was to be printed, or matplotlib is missing.
        """
        if self.report == _STDOUT:
            raise InputError("--report -: a report is an HTML file; give its name")
        if self.is_illustrated:
            drawing.require_matplotlib()
        taken = list(inputs)
        for path in (self.report, self.json, self.csv):
            if path and path != _STDOUT:
                refuse_overwriting(path, *taken)
                taken.append(path)
        if self.plot:
            drawing.check_folder(self.plot)

    def write(self, study: Study) -> None:
        """Write the requested files and log their names."""
        pictures = plots.pictures(study) if self.is_illustrated else {}
        if self.plot:
            paths = drawing.save_all(pictures, self.plot)
            names = ", ".join(path.name for path in paths if path.suffix == ".png")
            next_step = "" if self.report else "; --report FILE puts all on one page"
            cli.log(f"pictures in {self.plot}: {names}; each also as .svg{next_step}")
        if self.report:
            _write(self.report, to_html(study, pictures))
            cli.log(f"report: {self.report}")
        if self.json:
            _write(self.json, to_json(study))
        if self.csv:
            _write(self.csv, to_csv(study))


def _write(path: str, content: str) -> None:
    """Write a text, or print it if the path is ``-``."""
    if path == _STDOUT:
        sys.stdout.write(content)
        return
    with replace_when_whole(path, text=True) as f:
        f.write(content)


def to_json(study: Study) -> str:
    """Return everything as one JSON object."""
    content = {
        "suite": __version__,
        "legacy": study.legacy,
        "by": study.by,
        "costs": COSTS,
        "asv": study.asv,
        "systems": [
            {
                "name": system.name,
                "cm_score": system.scores.path,
                "sha256": system.scores.sha256,
                "signature": study.signature(system),
                "pooled": system.pooled,
                "groups": system.parts,
                "threshold_from": system.applied,
                "units": {"over": system.units.over, "n": len(system.units)} if system.units else None,
            }
            for system in study.systems
        ],
        "comparisons": study.comparisons,
        "dev": {system.name: system.pooled for system in study.dev.systems} if study.dev else None,
        "advice": advice.summary(study),
        "notes": study.notes,
    }
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return named tuples as dictionaries, for JSON."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


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
    line |= {name: getattr(group.evaluation, name) for name in _VALUES}
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
            _list(advice.summary(study)),
            _table(tables.systems(study)),
            _table(tables.operating_points(study)),
            f"<p>{escape(_verification(study))}</p>",
        ],
        "How sure": [_table(tables.intervals(study)), _table(tables.comparisons(study))],
        f"By {' and '.join(study.by)}": [attacks, *map(_table, tables.by_group(study))],
        "At thresholds set elsewhere": [_table(tables.applied(study))],
        "Notes": [_list(study.notes)],
        "Pictures": [f'<div class="pictures">{"".join(shown.values())}</div>' if shown else ""],
    }
    known = {name for system in study.systems if (name := data_set(system.scores))}
    about = [date.today().isoformat(), *(known if len(known) == 1 else ()), tables.trials(study)]
    results = [f'<p class="soft">{escape("; ".join(about))}</p>']
    for title, body in sections.items():
        if any(body):
            results += [f"<section><h2>{escape(title)}</h2>", *filter(None, body), "</section>"]
    return template.substitute(
        names=escape(", ".join(system.name for system in study.systems)),
        results="\n".join(results),
        signatures="\n".join(f"<p><code>{escape(study.signature(system))}</code></p>" for system in study.systems),
    )


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in texts)
    return f"<ul>{items}</ul>" if items else ""


def _verification(study: Study) -> str:
    if study.asv is None:
        return text.WITHOUT_ASV
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
    body = []
    for row, cells in enumerate(table.rows):
        words = [
            f"<b>{escape(cell)}</b>" if row in column.best else escape(cell)
            for cell, column in zip(cells, table.columns, strict=True)
        ]
        if cells[0] in table.about:
            words[0] += f' <span class="soft">{escape(table.about[cells[0]])}</span>'
        kind = ' class="total"' if table.total and row == len(table.rows) - 1 else ""
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
    # Ids must be unique on the page; the colours of text and background follow the reader's theme.
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in ((drawing.INK, "ink"), (drawing.FAINT, "faint"), (drawing.PAPER, "paper")):
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    caption = escape(_CAPTIONS[name])
    least = round(_SMALLEST * figure.get_size_inches()[0] * 72)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{caption}" style="min-width: {least}pt"', 1)
    return f"<figure><div>{svg}</div><figcaption>{caption}</figcaption></figure>"
