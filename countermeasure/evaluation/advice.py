"""What the development set says about each fusion: whether it beats its members, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from countermeasure.evaluation.results import Comparison, Study, SystemResult
from countermeasure.lists import names
from countermeasure.trials.score_files import ModelsRecord, ScoreRecord, read_record


def sentences(dev: Study) -> Iterator[str]:
    """Yield a sentence for each system that is a fusion of others.

    Parameters
    ----------
    dev : Study
        With intervals. What a system is made of is told by the records beside the score files; one without is
        passed over.
    """
    records = {system.name: read_record(system.scores.path, system.scores.sha256) for system in dev.systems}
    for system in dev.systems:
        record = records[system.name]
        members = [dev[name] for name in _members(system.name, records)]
        if members and record and not (problem := system.mismatch(members[0])):
            best = min(members, key=lambda member: member.evaluation.eer.value)
            comparison = dev.compare(system.name, best.name)
            yield f"{_verdict(comparison, system)}{_what_to_do(comparison, record.models)}"
        elif members:
            yield f"{system.name} is not compared with its members: their files {problem}."


def _members(name: str, records: dict[str, ScoreRecord | None]) -> list[str]:
    """Return the systems that a system is a fusion of, directly or through others."""
    record = records.get(name)
    columns = [names.score_column(column) for column in record.inputs] if record else []
    direct = dict.fromkeys(column.model for column in columns if column and column.model in records)
    return list(dict.fromkeys(found for member in direct for found in (member, *_members(member, records))))


def _verdict(found: Comparison, system: SystemResult) -> str:
    if not found.difference:
        return f"{found.system}: as good as its best member {found.reference} on dev. "
    low, high = found.interval.low, found.interval.high
    if low is None or high is None:
        interval = found.interval.reason
    else:
        over = f" over {system.units.over}" if system.units else ""
        interval = f"95 % interval{over} {100 * low:+.1f} to {100 * high:+.1f}"
    points = f"its EER is {100 * abs(found.difference):.1f} points {'lower' if found.difference < 0 else 'higher'}"
    perhaps = "" if found.is_significant else "perhaps "
    better = "better" if found.difference < 0 else "worse"
    return f"{found.system}: {perhaps}{better} than its best member {found.reference} on dev, {points} ({interval}). "


def _what_to_do(found: Comparison, models: ModelsRecord | None) -> str:
    if found.difference < 0:
        return "Use it." if found.is_significant else f"Either will do; {found.reference} alone is simpler."
    advice = ""
    if models and models.kind == "file scores" and models.has_few_rows:
        n_rows, n_components = models.scarcest
        n = f"{n_components} component{'s' * (n_components > 1)}"
        advice = f"Too few files for a file-level mixture: {n_rows:,} rows for {n}. "
    if models and models.method == "gmm":
        return f"{advice}Use {found.reference} alone, or fuse with --method logistic."
    return f"{advice}Use {found.reference} alone."
