"""Options that several scripts share, with their only defaults; importing this module is cheap."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, fields
from typing import Any

from countermeasure.errors import InputError

SPLITS = ("train", "dev", "eval")
PROTOCOL_FORMATS = ("asvspoof2019", "asvspoof2021", "asvspoof5", "csv")
EM_METHODS = ("incremental", "batch")
# The default number of components over files: mixtures with fewer rows per component overfit (benchmarks/README.md).
MOST_COMPONENTS, ROWS_PER_COMPONENT = 64, 100
_BY_ROWS = f"{MOST_COMPONENTS}, or fewer to have {ROWS_PER_COMPONENT} rows each in the smaller class"


@dataclass(frozen=True)
class TrainingOptions:
    """The options that, together with the data, determine the models.

    Attributes
    ----------
    n_components : int > 0 or None
        Gaussians per class; None: as many as the data allow, see `MOST_COMPONENTS`.
    max_iter : int > 0
        Largest number of passes over the data.
    tol : float >= 0
        Training ends when two passes in a row gain less than this, in nats per frame.
    var_floor : float from 0 to 1
        Smallest variance, relative to each dimension's variance over the data.
    reg_covar : float >= 0
        Added to every variance, in the features' own units.
    seed : int >= 0
        Of the random start.
    em : {'incremental', 'batch'}
        Update the parameters after each of a fixed number of blocks, or once per pass.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    n_components: int | None = 512
    max_iter: int = 300
    tol: float = 1e-3
    var_floor: float = 1e-3
    reg_covar: float = 0.0
    seed: int = 0
    em: str = "incremental"

    def __post_init__(self) -> None:
        for name in ("n_components", "max_iter", "tol", "var_floor", "reg_covar", "seed"):
            value, smallest = getattr(self, name), int(name in ("n_components", "max_iter"))
            if value is not None and not smallest <= value < float("inf"):
                raise InputError(f"--{name} {value}: must be a number from {smallest} on")
        if self.var_floor > 1:
            raise InputError(f"--var_floor {self.var_floor}: is relative to the data's variance; give one from 0 to 1")
        if self.em not in EM_METHODS:
            raise InputError(f"--em {self.em}: must be one of {', '.join(EM_METHODS)}")

    def affordable(self, n_rows: int) -> int:
        """Return how many components a class of `n_rows` rows can have, at two rows per component."""
        return min(self.n_components or n_rows, n_rows // 2 or 1)

    @classmethod
    def of(cls, settings: dict[str, Any]) -> TrainingOptions:
        """Move the options out of a script's arguments."""
        return cls(**{f.name: settings.pop(f.name) for f in fields(cls)})


@dataclass(frozen=True)
class LogisticOptions:
    """The options of a fusion by logistic regression.

    Attributes
    ----------
    l2 : float > 0
        Penalty on the squared weights of standardised columns, relative to the mean loss per file. With a weak
        penalty the fusion also learns how the scores of the training files, which are too good, go together.
    method : str
    """

    l2: float = 1.0
    method: str = "logistic"

    def __post_init__(self) -> None:
        if not 0 < self.l2 < float("inf"):
            raise InputError(f"--l2 {self.l2}: must be a number above 0")


# -- arguments of scripts ----------------------------------------------------------------------------


def add_base_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of both training scripts of base models."""
    parser.add_argument(
        "--data_path",
        default="./data/train/mfcc.pkl",
        metavar="FILE",
        help="feature list, data/train/train-TYPE.pkl (default %(default)s, or train-mfcc.pkl beside it)",
    )
    _add_training_arguments(parser, n_components=512, model_path="./model/mfcc")


def add_fusion_training_arguments(parser: argparse.ArgumentParser, n_components: int | None, columns: str) -> None:
    """Add the arguments of all training scripts of fusions; `columns` says which lists become the columns."""
    parser.add_argument(
        "--data_dir", required=True, metavar="DIR", help=f"folder whose .pkl lists, {columns}, become the columns"
    )
    parser.add_argument(
        "--method",
        choices=("gmm", "logistic"),
        default="gmm",
        help="mixtures over the columns, or a logistic regression on the LLRs of each file, which needs fewer files "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--l2",
        type=float,
        default=LogisticOptions.l2,
        metavar="N",
        help="penalty on squared weights, for --method logistic, which ignores the options of mixtures "
        "(default %(default)s)",
    )
    _add_training_arguments(parser, n_components)


def _add_training_arguments(
    parser: argparse.ArgumentParser, n_components: int | None, model_path: str | None = None
) -> None:
    parser.add_argument(
        "--model_path",
        required=model_path is None,
        default=model_path,
        metavar="DIR",
        help="folder for bon.gmm and sp.gmm" + " (default %(default)s)" * (model_path is not None),
    )
    parser.add_argument("--load_model_path", metavar="DIR", help="continue from the models of this folder")
    default = TrainingOptions(n_components=n_components)
    for name, kind, what in (
        ("n_components", int, "Gaussians per class"),
        ("max_iter", int, "largest number of passes over the data"),
        ("tol", float, "end when two passes in a row gain less than this, in nats per frame"),
        ("var_floor", float, "smallest variance, relative to each dimension's variance over the data"),
        ("reg_covar", float, "added to every variance, in the data's own units"),
        ("seed", int, "of the random start; the same seed gives the same models"),
    ):
        value = getattr(default, name)
        shown = _BY_ROWS if value is None else value
        parser.add_argument(f"--{name}", type=kind, default=value, metavar="N", help=f"{what} (default: {shown})")
    parser.add_argument(
        "--em",
        choices=EM_METHODS,
        default=default.em,
        help="update the parameters after each block of the data, or once per pass (default %(default)s)",
    )
    parser.add_argument("--log", metavar="FILE", help="write the history of the passes to this CSV file")
    parser.add_argument(
        "--restart",
        action="store_true",
        help="train again: replace finished models, and do not continue a run that was killed",
    )
    add_workers(parser)


def fusion_options(settings: dict[str, Any]) -> TrainingOptions | LogisticOptions:
    """Move the options of both methods out of a script's arguments; return those of the chosen method."""
    method, l2 = settings.pop("method"), settings.pop("l2")
    mixture = TrainingOptions.of(settings)
    return LogisticOptions(l2) if method == "logistic" else mixture


def add_testing_arguments(parser: argparse.ArgumentParser, is_fusion: bool = False) -> None:
    """Add the arguments of all test scripts."""
    _add_input(parser, is_fusion)
    parser.add_argument("--model_path_bon", required=True, metavar="FILE", help="model of bona fide speech, bon.gmm")
    parser.add_argument("--model_path_sp", required=True, metavar="FILE", help="model of spoofed speech, sp.gmm")
    parser.add_argument("--label_path", required=True, metavar="FILE", help="CM protocol that the lists were made from")
    add_protocol_arguments(parser)
    parser.add_argument(
        "--output_path",
        required=True,
        metavar="FILE",
        help="score file: the protocol's lines, each with its LLR in nats; higher = more bona fide",
    )
    parser.add_argument("--plot", metavar="DIR", help="also write the pictures of score_eval.py into this folder")
    add_workers(parser)


def add_preprocessing_arguments(parser: argparse.ArgumentParser, is_fusion: bool = False) -> None:
    """Add the arguments of both scripts that score lists for a fusion."""
    _add_input(parser, is_fusion)
    parser.add_argument("--data_split", required=True, choices=SPLITS, help="the split of the lists")
    parser.add_argument("--model_path", required=True, metavar="DIR", help="folder with bon.gmm and sp.gmm")
    parser.add_argument("--model_name", required=True, metavar="NAME", help="the score lists' names begin with this")
    parser.add_argument(
        "--output_path", required=True, metavar="DIR", help="the score lists go into DIR/SPLIT, e.g. DIR/eval"
    )
    add_workers(parser)


def _add_input(parser: argparse.ArgumentParser, is_fusion: bool) -> None:
    if is_fusion:
        text = "folder with exactly the lists, by name, that the models were trained on"
        parser.add_argument("--data_dir", required=True, metavar="DIR", help=text)
    else:
        text = "feature list, data/SPLIT/SPLIT-TYPE.pkl"
        parser.add_argument("--data_path", required=True, metavar="FILE", help=text)


def add_protocol_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how a protocol is read."""
    parser.add_argument(
        "--protocol_format",
        choices=PROTOCOL_FORMATS,
        help="format of the protocol: ASVspoof 2019 LA or PA, ASVspoof 2021, ASVspoof 5, or a CSV whose header names "
        "file, label and optionally speaker and attack (default: recognised)",
    )
    parser.add_argument(
        "--protocol_subset",
        nargs="+",
        metavar="NAME",
        help="use only the trials of these subsets: eval, progress or hidden of ASVspoof 2021 (default: all)",
    )


def add_workers(parser: argparse.ArgumentParser, what: str = "threads") -> None:
    """Add ``--n_jobs`` and ``--dask``, which exclude each other."""
    group = parser.add_mutually_exclusive_group()
    add_n_jobs(group, what)
    group.add_argument(
        "--dask",
        type=dask_address,
        metavar="ADDRESS",
        help="compute with the Dask scheduler at tcp://HOST:8786, or with local:N Dask processes on this machine; "
        "results do not depend on it (see docs/scale.md)",
    )


def add_n_jobs(parser: argparse._ActionsContainer, what: str = "threads") -> None:
    """Add ``--n_jobs``."""
    parser.add_argument(
        "--n_jobs",
        type=positive,
        metavar="N",
        help=f"number of {what}; results do not depend on it (default: one per core)",
    )


def positive(text: str) -> int:
    """Parse an integer from 1 on, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def dask_address(text: str) -> str:
    """Parse the address of a Dask scheduler or ``local:N``, for argparse."""
    if not re.fullmatch(r"local:[1-9][0-9]{0,2}|[a-z]+://.+:[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither tcp://HOST:PORT nor local:N with N from 1 to 999")
    return text
