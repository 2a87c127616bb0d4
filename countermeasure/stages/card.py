"""Model cards: ``README.md`` beside the models, with their data, training and figures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from countermeasure import cli, files, records
from countermeasure.errors import InputError
from countermeasure.features.types import SILENCE
from countermeasure.gmm import calibration
from countermeasure.gmm.models import Pair, model_files, read_pair
from countermeasure.lists.provenance import Source
from tDCF_python import metrics

FILE = "README.md"
# A file without this line is the user's own and is left alone.
MARK = "<!-- Model card, written by training and calibration. Remove this line to keep what you write here. -->"
_CARD = """\
{mark}
# {title}

`bon.gmm` models bona fide speech, `sp.gmm` spoofed speech. A recording's score is the mean over its rows of
log p(row | bona fide) − log p(row | spoof), in nats; higher = more bona fide.

## Data

{data}

## Features

{features}

## Training

{training}

## Figures on held-out data

{figures}

## Use

For research, not evidence: nobody should be accused, or cleared, by this score alone. Mixtures over cepstra miss
neural vocoders and most unseen attacks. Microphone, room, language, codec and noise move the score as much as spoofing
does.{silence}

## Versions

{versions}
"""
_SILENCE = " `silence` learns how the data set was cut, not what spoofing sounds like; anybody can trim a file."


def write(folder: str | os.PathLike[str]) -> None:
    """Write or update the card of a folder's models; an unchanged card is not touched.

    The same models and calibration give the same bytes in any folder.
    """
    path = Path(folder) / FILE
    text = records.text(card(folder))
    try:
        present = files.read_regular(path).decode(errors="replace")
    except FileNotFoundError:
        present = MARK
    if MARK not in present:
        cli.log(f"{path}: is not a model card of this suite, so it is left alone")
    elif present != text:
        with files.replace_when_whole(path, text=True) as f:
            f.write(text)


def card(folder: str | os.PathLike[str]) -> str:
    """Return the card of a folder's models, as Markdown."""
    pair = read_pair(*model_files(folder))
    record = pair.record
    columns = record.columns or []
    types = [source.feature["type"] if source else "unknown" for source in record.inputs]
    known = next(filter(None, record.inputs), None)
    if columns:
        title = f"Fusion of {len(columns)} columns"
        features = [f"`{name}`: {kind}" for name, kind in zip(columns, types, strict=False)]
    else:
        title = f"Base model: {types[0] if types else 'unknown features'}"
        features = _named(known.feature if known else {})
    return _CARD.format(
        mark=MARK,
        title=title,
        data=_data(pair, columns or types, known),
        features=_items(features),
        training=_training(pair),
        figures=_items(_figures(folder)),
        silence=_SILENCE if SILENCE in [*columns, *types] else "",
        versions=_items(_named(record.versions)),
    )


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts) or "Unknown: the lists had no records beside them."


def _named(values: dict[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in values.items()]


def _table(heading: list[str], bonafide: Sequence[object], spoof: Sequence[object]) -> str:
    rows = ["class", *heading], ["---"] * (1 + len(heading)), ["bona fide", *bonafide], ["spoof", *spoof]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _data(pair: Pair, names: list[str], known: Source | None) -> str:
    counts = ([n or "unknown" for n in (model.record.n_files, model.record.n_frames)] for model in pair)
    facts: dict[str, object] = {}
    if known:
        facts = {
            "split": known.split,
            "sampling rate, Hz": known.sampling_rate,
            "speakers": known.n_speakers,
            "recordings left out": known.n_skipped,
            "SHA-256 of the protocol": known.protocol_sha256,
        }
    for name, digest in zip(names, pair.record.data_sha256, strict=False):
        facts[f"SHA-256 of `{name}`"] = digest
    known_facts = _named({name: value for name, value in facts.items() if value})
    return f"{_table(['recordings', 'rows'], *counts)}\n\n{_items(known_facts)}"


def _training(pair: Pair) -> str:
    options = pair.record.options
    if pair.record.is_logistic:
        text = "Logistic regression on the mean row of each recording, written as two Gaussians whose log ratio it is."
    else:
        heading = ["components", "passes", "converged", "log-likelihood per row, nats"]
        rows = (
            [m.parameters.n_components, m.n_iter, "yes" if m.converged else "no", f"{m.lower_bound:.4f}"] for m in pair
        )
        text = _table(heading, *rows)
    if options:
        text += "\n\nOptions: " + ", ".join(f"`{name}` {value}" for name, value in options.items())
    if pair.record.start_sha256:
        text += "\n\nContinued from other models."
    return text


def _figures(folder: str | os.PathLike[str]) -> list[str]:
    try:
        found = calibration.read(folder)
    except InputError:
        return [f"`{calibration.FILE}` is damaged or belongs to other models: run `gmm_calibrate.py` again"]
    if found is None:
        return ["None yet: `gmm_calibrate.py` adds them"]
    figures = [
        f"EER: {metrics.percent(found.eer, found.n_bonafide, found.n_spoof)} ({found.interval})",
        f"trials: {found.n_bonafide:,} bona fide, {found.n_spoof:,} spoofed, of `{found.score_file}`, SHA-256 "
        f"{found.score_sha256}",
        f"threshold: {found.threshold:.6f} ({found.origin})",
        f"calibrated LLR: {found.calibrated_llr}",
    ]
    if found.lowest_usual is not None:
        figures.append(f"out of domain: recordings with a mean log-likelihood below {found.lowest_usual:.2f} per frame")
    return figures
