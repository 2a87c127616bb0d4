"""The scripts that write, each with a call on the tiny corpus that ends within a second."""

import shutil
from pathlib import Path

import corpus

SPLITS = ("train", "eval")


def audio(split):
    """Return the arguments that name a split's recordings and protocol."""
    place = Path("LA")
    folder = place / f"ASVspoof2019_LA_{split}" / "flac"
    return ["--data_split", split, "--data_path", folder, "--label_path", corpus.protocol(place, split)]


def scoring(folder):
    """Return the arguments that name a folder's models and the evaluation protocol."""
    models = ["--model_path_bon", f"{folder}/bon.gmm", "--model_path_sp", f"{folder}/sp.gmm"]
    return [*models, "--label_path", corpus.protocol(Path("LA"), "eval")]


SMALL = ["--n_components", 2, "--max_iter", 4]
LFCC, NAMED = ["--data_path", "data/eval/eval-lfcc.pkl"], ["--model_path", "model/lfcc", "--model_name", "lfcc"]
# What each script writes into the folder `out`.
WRITERS = {
    "gmm_data_processing": [*audio("eval"), "--output_path", "out", "--ftype", "lfcc", "silence"],
    "gmm_train": ["--data_path", "data/train/train-lfcc.pkl", "--model_path", "out", *SMALL],
    "gmm_train_recur": ["--data_path", "data/train/train-lfcc.pkl", "--model_path", "out", *SMALL],
    "gmm_test": [*LFCC, *scoring("model/lfcc"), "--output_path", "out/scores.txt"],
    "gmm_ensemble_preprocess": ["--data_split", "eval", *LFCC, *NAMED, "--output_path", "out"],
    "gmm_ensemble_train": ["--data_dir", "experiment/frames/train", "--model_path", "out", "--method", "logistic"],
    "gmm_ensemble_train_recur": ["--data_dir", "experiment/frames/train", "--model_path", "out", *SMALL],
    "gmm_ensemble_test": ["--data_dir", "experiment/frames/eval", *scoring("model/frames"), "--output_path", "out/a"],
    "gmm_filelevel_preprocess": ["--data_split", "eval", "--data_dir", "experiment/frames/eval", "--model_path",
                                 "model/frames", "--model_name", "frames", "--output_path", "out"],
    "gmm_filelevel_train": ["--data_dir", "experiment/files/train", "--model_path", "out", *SMALL],
    "gmm_filelevel_test": ["--data_dir", "experiment/files/eval", *scoring("model/files"), "--output_path", "out/a"],
    "gmm_calibrate": ["--cm_score", "scores.txt", "--model_path", "out"],
    "gmm_detect": ["--model_path", "model/lfcc", "--frames", "out/frames.png",
                   "LA/ASVspoof2019_LA_eval/flac/LA_E_1000000.flac"],
    "score_eval": ["--cm_score", "scores.txt", "--json", "out/all.json", "--csv", "out/all.csv"],
}  # fmt: skip
# The models that are in the folder before, for a script that writes beside them.
THERE_BEFORE = {"gmm_calibrate": "model/lfcc"}


def prepare(folder, launcher):
    """Make everything that the calls of `WRITERS` read."""

    def run(name, *arguments):
        ended = launcher.run(folder, name, *arguments)
        assert ended.status == 0, ended.stderr

    corpus.make(folder / "LA", n=4)
    for split in SPLITS:
        run("gmm_data_processing", *audio(split), "--output_path", f"data/{split}", "--ftype", "lfcc", "silence")
    run("gmm_train", "--data_path", "data/train/train-lfcc.pkl", "--model_path", "model/lfcc", *SMALL)
    for split in SPLITS:
        run("gmm_ensemble_preprocess", "--data_split", split, "--data_path", f"data/{split}/{split}-lfcc.pkl", *NAMED,
            "--output_path", "ensemble")  # fmt: skip
        shutil.copytree(folder / "ensemble" / split, folder / "experiment/frames" / split)
    run("gmm_ensemble_train", "--data_dir", "experiment/frames/train", "--model_path", "model/frames", *SMALL)
    for split in SPLITS:
        run("gmm_filelevel_preprocess", "--data_split", split, "--data_dir", f"experiment/frames/{split}",
            "--model_path", "model/frames", "--model_name", "f", "--output_path", "ensemble-files")  # fmt: skip
        shutil.copytree(folder / "ensemble-files" / split, folder / "experiment/files" / split)
    run("gmm_filelevel_train", "--data_dir", "experiment/files/train", "--model_path", "model/files", *SMALL)
    run("gmm_test", *LFCC, *scoring("model/lfcc"), "--output_path", "scores.txt")


def tree(folder):
    """Return the contents of a folder's files, by their places in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
