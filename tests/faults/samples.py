"""One small good file of each kind, for mutations to start from."""

import pickle
from pathlib import Path

import numpy as np
from sklearn.mixture import GaussianMixture

from countermeasure.files import sha256
from countermeasure.gmm import checkpoints, em
from countermeasure.gmm.mixture import Parameters, Statistics
from countermeasure.gmm.models import Model, write_model
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.unfinished import Recording, UnfinishedList
from countermeasure.trials.lines import Trial

N_ITEMS, N_DIMS, N_COMPONENTS = 8, 3, 2
RECORD = {
    "format": 1,
    "columns": None,
    "data_sha256": ["ab" * 32],
    "options": {"n_components": N_COMPONENTS, "tol": 1e-3, "max_iter": 9, "reg_covar": 0.0, "seed": 0},
    "start_sha256": None,
    "training_id": "cd" * 32,
    "inputs": [{"kind": "features", "feature": {"type": "lfcc"}, "sampling_rate": 16000, "model": None}],
}
UNFINISHED_SETTINGS = ["lfcc", {"countermeasure": "1"}]
PICKLE_PROTOCOLS = (2, 3, 4, 5)


def make_samples(folder: Path) -> Path:
    """Fill `folder`; every file's name begins with its kind."""
    rng = np.random.default_rng(0)
    labels = ["bonafide" if i % 2 else "spoof" for i in range(N_ITEMS)]
    trials = [_trial(i, label) for i, label in enumerate(labels)]
    arrays = [rng.normal(size=(3 + i, N_DIMS)).astype(np.float32) for i in range(N_ITEMS)]
    _write_lists(folder, arrays, labels, trials)
    _write_models(folder, rng)
    (folder / "protocol.txt").write_text("".join(f"{trial.line}\n" for trial in trials))
    of_2021 = [f"{t.speaker} {t.utterance} alaw ita_tx {t.attack} {t.label} notrim eval\n" for t in trials]
    (folder / "protocol-2021.txt").write_text("".join(of_2021))
    of_csv = [f'"{t.utterance} a.wav",{t.label},{t.speaker},{t.attack or ""}\n' for t in trials]
    (folder / "protocol-csv.txt").write_text("".join(["file,label,speaker,attack\n", *of_csv]))
    (folder / "cm-2021.txt").write_text("".join(line.replace("\n", " 1.5\n") for line in of_2021))
    (folder / "cm.txt").write_text("".join(f"{trial.line} {i - 3.25}\n" for i, trial in enumerate(trials)))
    (folder / "cm-short.txt").write_text("".join(f"{trial.utterance} {i / 7}\n" for i, trial in enumerate(trials)))
    keys = ["target", "nontarget", "spoof"] * 3
    (folder / "asv.txt").write_text("".join(f"A07 {key} {-i / 7}\n" for i, key in enumerate(keys)))
    (folder / "asv-six.txt").write_text("".join(f"LA_1 LA_E_{i} x A07 {k} {i}.5\n" for i, k in enumerate(keys)))
    block = Statistics(np.ones((2 * N_DIMS + 1, N_COMPONENTS)), -12.0, 5)
    state = em.State(_parameters(rng), (block, block), (-3.0, -2.5))
    checkpoints.save(folder / "checkpoint.npz", state, [0.1, 0.2], RECORD)
    with UnfinishedList(folder / "unfinished", UNFINISHED_SETTINGS) as unfinished:
        unfinished.resume([], with_problems=False)
        for i, (array, label) in enumerate(zip(arrays, labels, strict=True)):
            unfinished.add(Recording("00" * 32, 16000, 1, 8000), array, label)
            if i % 3 == 2:
                unfinished.end_part()
    return folder


def _trial(i, label):
    utterance, attack = f"LA_E_{i}", None if label == "bonafide" else "A07"
    return Trial(f"LA_{i:04d} {utterance} - {attack or '-'} {label}", utterance, label, attack, f"LA_{i:04d}")


def _write_lists(folder, arrays, labels, trials):
    items = list(zip(arrays, labels, strict=True))
    with ListWriter(folder / "list.pkl") as out:
        for item in items:
            out.append(*item)
    for protocol in PICKLE_PROTOCOLS:
        (folder / f"list-{protocol}.pkl").write_bytes(pickle.dumps(items, protocol))
    (folder / "list-older.pkl").write_bytes(pickle.dumps([arrays[0].astype(">f8"), None, *arrays[2:]], 3))
    record = provenance.Record(
        kind="features",
        split="eval",
        feature={"type": "lfcc"},
        sampling_rate=16000,
        dtype="float32",
        protocol_sha256=provenance.protocol_sha256(trials),
        audio_sha256="ef" * 32,
        list_sha256=sha256(folder / "list.pkl"),
        versions={"numpy": "2"},
        utterances=[trial.utterance for trial in trials],
        speakers=[trial.speaker for trial in trials],
        n_frames=[len(array) for array in arrays],
    )
    provenance.write(folder / "list.pkl", record)
    means = [(array.mean().reshape(1, 1).astype(np.float64), label) for array, label in items]
    for protocol in PICKLE_PROTOCOLS:
        (folder / f"scores-{protocol}.pkl").write_bytes(pickle.dumps(means, protocol))


def _parameters(rng):
    shape = N_COMPONENTS, N_DIMS
    return Parameters(np.full(N_COMPONENTS, 1 / N_COMPONENTS), rng.normal(size=shape), rng.uniform(0.5, 2, size=shape))


def _write_models(folder, rng):
    for name, label in (("model.gmm", "bonafide"), ("other.gmm", "spoof")):
        model = Model(_parameters(rng), 3, -2.5, True, (-3.0, -2.7, -2.5), {**RECORD, "label": label})
        write_model(folder / name, model)
    fitted = GaussianMixture(N_COMPONENTS, covariance_type="diag", random_state=0).fit(rng.normal(size=(50, N_DIMS)))
    for protocol in PICKLE_PROTOCOLS:
        (folder / f"model-{protocol}.gmm").write_bytes(pickle.dumps(fitted, protocol))
