"""A result as text."""

from __future__ import annotations

from countermeasure.evaluation import advice, tables
from countermeasure.evaluation.results import Study
from countermeasure.evaluation.tables import FIGURES, Table, percent
from tDCF_python.defaults import LA_EVAL_NAME
from tDCF_python.evaluation import tdcf_name
from tDCF_python.metrics import Point

WITHOUT_ASV = f"For min t-DCF give the ASV system's scores: --asv_score FILE, or {LA_EVAL_NAME} for that evaluation set"
_RULE = "-" * 72


def to_text(study: Study, brief: bool = False) -> str:
    """Return the report: operating points if there is a single system, then tables and sentences.

    Parameters
    ----------
    study : Study
    brief : bool
        Leave out what was computed for pictures alone: groups, intervals and comparisons.
    """
    parts: list[str | Table | None] = [tables.systems(study)]
    if len(study.systems) == 1:
        parts.insert(0, _plain(study))
    elif not study.asv:
        parts.append(WITHOUT_ASV)
    parts += [None if brief else tables.intervals(study), tables.applied(study)]
    if not brief:
        parts += [tables.comparisons(study), *tables.by_group(study)]
    parts.append("\n".join([*advice.summary(study), *(f"Note: {note}" for note in study.notes)]))
    return "\n\n".join(str(part) for part in parts if part) + f"\n{_RULE}\n{study.signature()}"


def _plain(study: Study) -> str:
    """Return the report on one system: verification system, EER, min t-DCF and operating points."""
    system, asv = study.systems[0], study.asv
    found, digits = system.evaluation, tables.decimals([system.pooled])
    lines = [f"{system.name}: {tables.trials(study)}; higher score = bona fide", ""]
    if asv:
        rates = asv.rates
        lines += [
            f"Speaker verification ({asv.source}), at its equal error rate",
            f"  EER                   {percent(rates.eer, 3):>10}   at threshold {rates.threshold:.6f}",
            f"  P_fa                  {percent(rates.p_fa, 3):>10}   nontargets accepted",
            f"  P_miss                {percent(rates.p_miss, 3):>10}   targets rejected",
            f"  P_miss,spoof          {percent(rates.p_miss_spoof, 3):>10}   spoofs rejected",
            "",
        ]
    lines += [
        "Countermeasure",
        f"  EER                   {percent(found.eer.value, digits):>10}   {_where(found.eer, digits)}",
        "",
    ]
    tdcf = tdcf_name(study.legacy)
    if point := getattr(found, tdcf):
        value = f"{point.value:.{digits + 3}f}  "
        lines += ["Both in tandem", f"  {FIGURES[tdcf]:<21} {value:>10}   {_where(point, digits)}"]
    else:
        lines.append("No min t-DCF with these ASV error rates, see the note" if asv else WITHOUT_ASV)
    return "\n".join(lines)


def _where(point: Point, digits: int) -> str:
    rates = f"P_miss {percent(point.p_miss, digits)}, P_fa {percent(point.p_fa, digits)}"
    return f"at threshold {point.threshold:.6f}, {rates}"
