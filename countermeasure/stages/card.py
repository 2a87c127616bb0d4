"""Model cards: ``README.md`` beside the models, which says what they are, made from what, and good for what."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from countermeasure import cli, files, records
from countermeasure.errors import InputError
from countermeasure.features.types import SILENCE
from countermeasure.gmm import calibration
from countermeasure.gmm.models import Model, model_files, read_pair
from tDCF_python import metrics

FILE = "README.md"
# Without this line a file is somebody's own, and left alone.
MARK = "<!-- Model card, written by training and calibration. Remove this line to keep what you write here. -->"
_USE = """\
For research, not evidence: nobody should be accused, or cleared, by this score alone. Mixtures over cepstra miss
neural vocoders and most unseen attacks. Microphone, room, language, codec and noise move the score as much as spoofing
does."""
_USE_OF_SILENCE = "`silence` learns how the data set was cut, not what spoofing sounds like; anybody can trim a file."


def write(folder: str | os.PathLike[str]) -> None:
    """Write or renew the card of a folder's models; one that says the same already is not touched.

    The same models and calibration give the same bytes, wherever the folder is.
    """
    path = Path(folder) / FILE
    text = records.text(card(folder))
    try:
        present = files.read_regular(path).decode(errors="replace")
    except FileNotFoundError:
        present = MARK
    if MARK not in present:
        cli.log(f"{path}: is not a card of this suite's, so it is left alone")
    elif present != text:
        with files.replace_when_whole(path, text=True) as f:
            f.write(text)


def card(folder: str | os.PathLike[str]) -> str:
    """Return the card of a folder's models, as Markdown."""
    pair = read_pair(*model_files(folder))
    record = pair[0].record
    columns, inputs = record.get("columns") or [], record.get("inputs") or []
    types = [_type(entry) for entry in inputs]
    known: dict[str, Any] = next((entry for entry in inputs if entry), {})
    if columns:
        title = f"Fusion of {len(columns)} columns"
        features = [f"`{name}`: {kind}" for name, kind in zip(columns, types or columns, strict=False)]
    else:
        title = f"Base model: {(types or ['unknown features'])[0]}"
        features = [f"{name}: {value}" for name, value in known.get("feature", {}).items()]
    sections = {
        "Data": _data(pair, columns or types, known),
        "Features": _items(features),
        "Training": _training(pair),
        "Figures on held-out data": _items(_figures(folder)),
        "Use": [_USE, *(["", _USE_OF_SILENCE] if SILENCE in [*columns, *types] else [])],
        "Versions": _items(f"{name} {version}" for name, version in (record.get("versions") or {}).items()),
    }
    lines = [
        MARK,
        f"# {title}",
        "",
        "`bon.gmm` models bona fide speech, `sp.gmm` spoofed speech. A recording's score is the mean over its rows of",
        "log p(row | bona fide) − log p(row | spoof), in nats; higher = more bona fide.",
    ]
    for heading, part in sections.items():
        lines += ["", f"## {heading}", "", *part]
    return "\n".join(lines) + "\n"


def _type(entry: Any) -> str:
    return str(entry["feature"].get("type", "unknown")) if entry else "unknown"


def _items(texts: Iterable[str]) -> list[str]:
    return [f"- {text}" for text in texts] or ["Unknown: the lists had no records beside them."]


def _data(pair: tuple[Model, Model], names: list[str], known: dict[str, Any]) -> Iterator[str]:
    numbers = [[model.record.get(name) for name in ("n_files", "n_frames")] for model in pair]
    counts = [["unknown" if number is None else f"{number:,}" for number in row] for row in numbers]
    yield from _table(["class", "recordings", "rows"], counts)
    yield ""
    facts = {
        "split": known.get("split"),
        "sampling rate, Hz": known.get("sampling_rate"),
        "speakers": known.get("n_speakers"),
        "recordings left out": known.get("n_skipped"),
        "SHA-256 of the protocol": known.get("protocol_sha256"),
    }
    for name, digest in zip(names, pair[0].record.get("data_sha256") or [], strict=False):
        facts[f"SHA-256 of `{name}`"] = digest
    yield from _items(f"{name}: {value}" for name, value in facts.items() if value)


def _training(pair: tuple[Model, Model]) -> Iterator[str]:
    record = pair[0].record
    options = record.get("options") or {}
    if options.get("method") == "logistic":
        yield "Logistic regression on the mean row of each recording, written as two Gaussians whose log ratio it is."
    else:
        yield from _table(
            ["class", "components", "passes", "converged", "log-likelihood a row, nats"],
            [
                [str(m.parameters.n_components), str(m.n_iter), "yes" if m.converged else "no", f"{m.lower_bound:.4f}"]
                for m in pair
            ],
        )
    if options:
        yield ""
        yield "Options: " + ", ".join(f"`{name}` {value}" for name, value in options.items())
    if record.get("start_sha256"):
        yield ""
        yield "Continued from other models."


def _figures(folder: str | os.PathLike[str]) -> list[str]:
    try:
        found = calibration.read(folder)
    except InputError:
        return [f"`{calibration.FILE}` is damaged or belongs to other models: run `gmm_calibrate.py` again"]
    if found is None:
        return ["None yet: `gmm_calibrate.py` adds them"]
    told = [
        f"EER: {metrics.percent(found.eer, found.n_bonafide, found.n_spoof)} ({found.interval})",
        f"trials: {found.n_bonafide:,} bona fide, {found.n_spoof:,} spoofed, of `{found.score_file}`, SHA-256 "
        f"{found.score_sha256}",
        f"threshold: {found.threshold:.6f} ({found.origin})",
        f"calibrated LLR: {found.calibrated_llr}",
    ]
    if found.lowest_usual is not None:
        told.append(f"out of domain: recordings with a mean log-likelihood below {found.lowest_usual:.2f} a frame")
    return told


def _table(heading: list[str], rows: list[list[str]]) -> Iterator[str]:
    for row in (heading, ["---"] * len(heading), ["bona fide", *rows[0]], ["spoof", *rows[1]]):
        yield f"| {' | '.join(row)} |"
