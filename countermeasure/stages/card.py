"""Model cards: ``README.md`` beside the models, which says what they are, made from what, and good for what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from countermeasure import cli, files
from countermeasure.errors import InputError
from countermeasure.gmm.models import Model, model_files, read_pair
from countermeasure.stages import calibration

FILE = "README.md"
# Without this line a file is somebody's own, and left alone.
MARK = "<!-- Model card, written by training and calibration. Remove this line to keep what you write here. -->"


def write(folder: str | os.PathLike[str]) -> None:
    """Write or renew the card of a folder's models; one that says the same already is not touched.

    The same models and calibration give the same bytes, wherever the folder is.
    """
    path = Path(folder) / FILE
    text = card(folder)
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as f:
            present = f.read()
    except FileNotFoundError:
        present = MARK
    except IsADirectoryError:
        present = ""
    if MARK not in present:
        cli.log(f"{path}: is not a card of this suite's, so it is left alone")
    elif present != text:
        with files.replace_when_whole(path, text=True) as f:
            f.write(text)


def card(folder: str | os.PathLike[str]) -> str:
    """Return the card of a folder's models, as Markdown."""
    pair = read_pair(*model_files(folder))
    record = pair[0].record
    inputs = record.get("inputs") or []
    lines = [MARK, f"# {_title(record, inputs)}", "", *_summary(record)]
    for heading, part in (
        ("Data", _data(pair, inputs)),
        ("Features", _features(record, inputs)),
        ("Training", _training(pair)),
        ("Figures on held-out data", _figures(folder)),
        ("Use", _use(record, inputs)),
        ("Versions", _versions(record)),
    ):
        lines += ["", f"## {heading}", "", *part]
    return "\n".join(lines) + "\n"


def _title(record: dict[str, Any], inputs: list[dict[str, Any] | None]) -> str:
    if record.get("columns"):
        return f"Fusion of {len(record['columns'])} score columns"
    return f"Base model: {_feature_type(inputs[0]) if inputs else 'unknown features'}"


def _feature_type(entry: dict[str, Any] | None) -> str:
    return str(entry["feature"].get("type", "unknown features")) if entry else "unknown features"


def _is_regression(record: dict[str, Any]) -> bool:
    options = record.get("options")
    return isinstance(options, dict) and options.get("method") == "logistic"


def _summary(record: dict[str, Any]) -> list[str]:
    what = "rows of other models' scores" if record.get("columns") else "frames of cepstral features"
    if _is_regression(record):
        what = (
            f"A logistic regression on {what}, written as two Gaussians whose log ratio it is: `bon.gmm` and `sp.gmm`."
        )
    else:
        what = f"Two Gaussian mixtures over {what}: `bon.gmm` of bona fide speech, `sp.gmm` of spoofed speech."
    return [
        what,
        "A recording's score is the mean over its rows of log p(row | bona fide) minus log p(row | spoof), in nats.",
        "Higher = more bona fide. The two files belong together.",
    ]


def _data(pair: tuple[Model, Model], inputs: list[dict[str, Any] | None]) -> Iterator[str]:
    yield from _table(
        ["class", "recordings", "rows"],
        [
            (label, *(_count(model.record.get(name)) for name in ("n_files", "n_frames")))
            for label, model in _labelled(pair)
        ],
    )
    known = next((entry for entry in inputs if entry), None)
    yield ""
    if known is None:
        yield "The lists had no records beside them, so that nothing more is known of them."
        return
    yield f"- Split: {known.get('split', 'unknown')}, {_count(known['sampling_rate'])} Hz"
    if known.get("n_speakers"):
        yield f"- Speakers: {_count(known['n_speakers'])}"
    if known.get("n_skipped"):
        yield f"- Recordings that could not be used: {_count(known['n_skipped'])}"
    if known.get("protocol_sha256"):
        yield f"- SHA-256 of the protocol: `{known['protocol_sha256']}`"
    digests = pair[0].record.get("data_sha256")
    names = pair[0].columns or [_feature_type(inputs[0])]
    for name, digest in zip(names, digests if isinstance(digests, list) else [], strict=False):
        yield f"- SHA-256 of the list `{name}`: `{digest}`"


def _features(record: dict[str, Any], inputs: list[dict[str, Any] | None]) -> Iterator[str]:
    columns = record.get("columns")
    if columns:
        yield "Columns, in this order:"
        yield ""
        for name, entry in zip(columns, inputs or [None] * len(columns), strict=False):
            behind = f": {entry['kind']}, {_feature_type(entry)}" if entry and "kind" in entry else ""
            yield f"- `{name}`{behind}"
        return
    entry = inputs[0] if inputs else None
    if entry is None:
        yield "Unknown: the list had no record beside it."
        return
    for name, value in entry["feature"].items():
        yield f"- {name}: {value}"


def _training(pair: tuple[Model, Model]) -> Iterator[str]:
    if _is_regression(pair[0].record):
        yield "Logistic regression on the mean row of each recording; both classes count the same."
    else:
        yield from _table(
            ["class", "components", "passes", "ended", "log-likelihood a row, nats"],
            [
                (
                    label,
                    f"{model.parameters.n_components}",
                    f"{model.n_iter}",
                    "converged" if model.converged else "at the largest number of passes",
                    f"{model.lower_bound:.4f}",
                )
                for label, model in _labelled(pair)
            ],
        )
    options = pair[0].record.get("options")
    if options:
        yield ""
        yield "Options: " + ", ".join(f"`{name}` {value}" for name, value in options.items())
    if pair[0].record.get("start_sha256"):
        yield ""
        yield "Continued from other models."


def _figures(folder: str | os.PathLike[str]) -> list[str]:
    try:
        found = calibration.read(folder)
        told = "None yet."
    except InputError:
        found, told = None, f"`{calibration.FILE}` is damaged or belongs to other models."
    if found is None:
        command = "`gmm_calibrate.py --cm_score SCORE_FILE --model_path THIS_FOLDER`"
        return [f"{told} {command}, with the score file of a", "development set, adds them, and a threshold."]
    where = "the Bayes threshold" if found.criterion == "bayes" else "the threshold of the EER"
    return [
        f"- EER: {100 * found.eer:.2f} %, interval of 95 % {100 * found.eer_low:.2f} to {100 * found.eer_high:.2f} % "
        f"(drawn over {found.eer_over})",
        f"- on {found.n_bonafide:,} bona fide and {found.n_spoof:,} spoofed trials of `{found.score_file}`, SHA-256 "
        f"`{found.score_sha256}`",
        f"- Threshold: {found.threshold:.6f}, {where} for a share of {found.prior:g} of bona fide speech",
        f"- Calibrated LLR: {found.slope:.6g} · LLR {'−' if found.offset < 0 else '+'} {abs(found.offset):.6g}",
    ]


def _use(record: dict[str, Any], inputs: list[dict[str, Any] | None]) -> Iterator[str]:
    yield "Meant for research, for comparison with other countermeasures, and for a first look at recordings that"
    yield "resemble the training data. Not evidence: nobody should be accused, or cleared, by this score alone."
    yield ""
    yield "- Mixtures over cepstra catch classic synthesis and conversion, above all the training data's. They"
    yield "  miss good neural vocoders and most attacks that they were not trained on."
    yield "- Other microphones, rooms, languages, codecs (MP3, telephone) and noise move the score as much as spoofing."
    yield "- A recording without the upper part of the band, such as a telephone call, has no reliable score."
    names = record.get("columns") or []
    types = [_feature_type(entry) for entry in inputs]
    if "silence" in names or "silence" in types:
        yield "- `silence`, one of the columns, is the length of the silence at a recording's ends. It learns how the"
        yield "  data set was cut, not what spoofing sounds like; anybody can trim a file or add silence to it."


def _versions(record: dict[str, Any]) -> Iterator[str]:
    versions = record.get("versions")
    if not versions or not isinstance(versions, dict):
        yield "Unknown."
        return
    for name, version in versions.items():
        yield f"- {name} {version}"


def _labelled(pair: tuple[Model, Model]) -> list[tuple[str, Model]]:
    return list(zip(("bona fide", "spoof"), pair, strict=True))


def _count(value: Any) -> str:
    return f"{value:,}" if type(value) is int else "unknown"


def _table(heading: list[str], rows: list[tuple[str, ...]]) -> Iterator[str]:
    for row in (heading, ["---"] * len(heading), *rows):
        yield f"| {' | '.join(row)} |"
