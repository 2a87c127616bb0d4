"""The results as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from countermeasure.evaluation import tables
from countermeasure.evaluation.asv import AsvSystem
from countermeasure.evaluation.study import ATTACK, SPEAKER, Study, signature
from countermeasure.evaluation.tables import FIGURES, Table, percent
from tDCF_python.defaults import LA_EVAL_NAME
from tDCF_python.evaluation import Evaluation, tdcf_name
from tDCF_python.metrics import Point

WITHOUT_ASV = (
    "min t-DCF needs the error rates of a speaker verification system: give its score file with --asv_score,\n"
    f"or --asv_score {LA_EVAL_NAME} for the evaluation set of ASVspoof 2019 LA"
)


def text(study: Study, brief: bool = False) -> str:
    """Return the report: the plain one for a single system, a table for several; then all else.

    Parameters
    ----------
    study : Study
    brief : bool
        Leave out what was computed for pictures alone: groups, intervals and comparisons.
    """
    parts = []
    if len(study.systems) == 1:
        system = study.systems[0]
        parts.append(plain(system.name, system.evaluation, study.asv, study.legacy))
        if system.applied or (not brief and (system.resampling or system.attacks or system.speakers)):
            parts.append(in_letters(tables.systems(study)))
    else:
        parts.append(in_letters(tables.systems(study)))
        if study.asv is None:
            parts.append(WITHOUT_ASV)
    further = [tables.applied(study)]
    if not brief:
        further.insert(0, tables.intervals(study))
        further += [table for kind in (ATTACK, SPEAKER) for table in tables.by_group(study, kind)]
    parts += [in_letters(table) for table in further if table]
    if not brief:
        parts += ["\n".join(lines) for lines in (tables.worst(study), tables.sentences(study)) if lines]
    if study.notes:
        parts.append("\n".join(f"Note: {note}" for note in study.notes))
    parts.append("\n".join(f"Signature: {signature(system, study)}" for system in study.systems))
    return "\n\n".join(parts)


def plain(name: str, evaluation: Evaluation, asv: AsvSystem | None, legacy: bool) -> str:
    """Return the report on one system: verification system, EER, min t-DCF and operating points."""
    total = evaluation.n_bonafide + evaluation.n_spoof
    lines = [
        f"{name}: {total:,} trials, {evaluation.n_bonafide:,} bona fide and {evaluation.n_spoof:,} spoof; "
        "higher score = bona fide",
        "",
    ]
    if asv is not None:
        rates = asv.rates
        lines += [
            f"Speaker verification ({asv.source}), at its equal error rate",
            f"  EER                   {percent(rates.eer, 6):>11}   at threshold {rates.threshold:.6f}",
            f"  P_fa                  {percent(rates.p_fa, 6):>11}   nontargets accepted",
            f"  P_miss                {percent(rates.p_miss, 6):>11}   targets rejected",
            f"  P_miss,spoof          {percent(rates.p_miss_spoof, 6):>11}   spoofs rejected",
            "",
        ]
    lines += [
        "Countermeasure",
        f"  EER                   {percent(evaluation.eer.value, 5):>10}    {_where(evaluation.eer)}",
        "",
    ]
    point = evaluation.min_tdcf(legacy)
    if point is None:
        lines.append(WITHOUT_ASV if asv is None else "No min t-DCF with these ASV error rates, see the note")
    else:
        lines += ["Both in tandem", f"  {FIGURES[tdcf_name(legacy)]:<21} {point.value:8.6f}      {_where(point)}"]
    return "\n".join(lines)


def in_letters(table: Table) -> str:
    """Return a table in fixed-width letters, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table.header, *table.rows, strict=True)]
    rule = _row(["-" * width for width in widths], widths)
    body = [_row(cells, widths) for cells in table.rows]
    if table.total:
        body.insert(-1, rule)
    return "\n".join([table.caption, *(_row(cells, widths) for cells in table.header), rule, *body])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def _where(point: Point) -> str:
    return f"at threshold {point.threshold:.6f}, P_miss {percent(point.p_miss, 4)}, P_fa {percent(point.p_fa, 4)}"
