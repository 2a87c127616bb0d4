"""The scripts that write, one of each stage, each with a call on the tiny corpus that ends within a second."""

import shutil
from pathlib import Path

import corpus


def audio(split):
    """Return the arguments that name a split's recordings and protocol."""
    place = Path("LA")
    folder = place / f"ASVspoof2019_LA_{split}" / "flac"
    return ["--data_split", split, "--data_path", folder, "--label_path", corpus.protocol(place, split)]


SMALL = ["--n_components", 2, "--max_iter", 4]
TRAIN = ["--data_path", "data/train/train-lfcc.pkl", *SMALL]
LFCC, NAMED = ["--data_path", "data/eval/eval-lfcc.pkl"], ["--model_path", "model/lfcc", "--model_name", "lfcc"]
SCORE = {
    "--data_path": "data/eval/eval-lfcc.pkl",
    "--model_path_bon": "model/lfcc/bon.gmm",
    "--model_path_sp": "model/lfcc/sp.gmm",
    "--label_path": corpus.protocol(Path("LA"), "eval"),
}
# What each script writes into the folder `out`.
WRITERS = {
    "gmm_data_processing": [*audio("eval"), "--output_path", "out", "--ftype", "lfcc", "silence"],
    "gmm_train_recur": [*TRAIN, "--model_path", "out"],
    "gmm_test": [*(word for pair in SCORE.items() for word in pair), "--output_path", "out/scores.txt"],
    "gmm_ensemble_preprocess": ["--data_split", "eval", *LFCC, *NAMED, "--output_path", "out"],
    "gmm_ensemble_train": ["--data_dir", "experiment/train", "--model_path", "out", "--method", "logistic"],
    "gmm_calibrate": ["--cm_score", "scores.txt", "--model_path", "out"],
    "score_eval": ["--cm_score", "scores.txt", "--json", "out/all.json", "--csv", "out/all.csv"],
}
# The models that are in the folder before, for a script that writes beside them.
THERE_BEFORE = {"gmm_calibrate": "model/lfcc"}


def prepare(folder, launcher):
    """Make everything that the calls of `WRITERS` read."""

    def run(name, *arguments):
        ended = launcher.run(folder, name, *arguments)
        assert ended.status == 0, ended.stderr

    corpus.make(folder / "LA", n=4)
    for split in ("train", "eval"):
        run("gmm_data_processing", *audio(split), "--output_path", f"data/{split}", "--ftype", "lfcc")
    run("gmm_train_recur", *TRAIN, "--model_path", "model/lfcc")
    run("gmm_ensemble_preprocess", "--data_split", "train", *TRAIN[:2], *NAMED, "--output_path", "ensemble")
    shutil.copytree(folder / "ensemble/train", folder / "experiment/train")
    run("gmm_test", *WRITERS["gmm_test"][:-1], "scores.txt")


def tree(folder):
    """Return the contents of a folder's files, by their places in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
