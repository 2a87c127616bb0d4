#!/usr/bin/env python3
"""Run a whole pipeline stage for some feature types: what preprocess.sh, train.sh and test.sh do.

preprocess  feature lists of train, dev and eval
train       a base model of each type; with two types or more, their frame-level and file-level fusion
test        scores of dev and eval, calibration on dev, and the results in one table

Types are named in any order (default: mfcc); silence takes part in file-level fusion only.
With --verbose, each step shows its commands; all of them can be typed by hand.

Settings come from the environment:
  LA        place of the data set, in the layout of ASVspoof 2019 LA (default: ./LA)
  WORK      place of data/ model/ ensemble/ experiment/ output/ (default: the current folder)
  RUN       NAME: models, fusions and outputs go to model/NAME/ and so on, apart from those of other settings
  RESTART   1: train again, and replace models of other settings
  FUSION    always: make the fusions for a single type as well
  JOBS      number of processes or threads (default: one per core)
  DASK      address of a Dask scheduler to compute with, see docs/scale.md
  TRAIN_OPTIONS, ENSEMBLE_OPTIONS, FILELEVEL_OPTIONS, EVALUATION_OPTIONS
            options of gmm_train_recur, gmm_ensemble_train, gmm_filelevel_train and score_eval

Examples:
    python gmm_run.py preprocess mfcc lfcc silence
    python gmm_run.py train mfcc lfcc silence
    python gmm_run.py test mfcc lfcc silence
    RUN=small TRAIN_OPTIONS="--n_components 64" python gmm_run.py train mfcc lfcc
"""

import argparse
import importlib
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from countermeasure import cli, options
from countermeasure.errors import InputError

if TYPE_CHECKING:
    from countermeasure.stages.pipeline import Step


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    parser.add_argument("pipeline", choices=["preprocess", "train", "test"], help="which stage")
    parser.add_argument("ftype", nargs="*", metavar="TYPE", help="feature types (default: mfcc)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    args = build_parser().parse_args(argv)
    from countermeasure.stages.pipeline import Pipelines, Settings

    pipelines = Pipelines(args.ftype or ["mfcc"], Settings.of(os.environ))
    # All checks come before the first step.
    steps = list(getattr(pipelines, args.pipeline)())
    results = pipelines.results() if args.pipeline == "test" else None
    for step in steps:
        for command in step.commands:
            _check(command, step)
    if results:
        _parsed(results)
    _carry_out(steps)
    if results:
        _run(results)
        cli.log("Options of score_eval.py are given in EVALUATION_OPTIONS, see gmm_run.py -h")
    elif args.pipeline == "test":
        cli.log("dev and eval are blind: there are scores, but no results without labels")
    return 0


def _parsed(command: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of another script; end with its message if they are wrong."""
    name, *arguments = command
    parser = importlib.import_module(name).build_parser()
    parser.prog = f"{name}.py"
    return vars(parser.parse_args([*arguments, *_verbose()]))


def _check(command: Sequence[str], step: "Step") -> None:
    """Stop if a command has wrong arguments, or if training would replace finished models of other settings."""
    from countermeasure.stages.finished import would_replace
    from countermeasure.stages.pipeline import TRAINING

    settings = _parsed(command)
    if command[0] in TRAINING and not settings["restart"]:
        is_fusion = "method" in settings
        wanted = options.fusion_options(settings) if is_fusion else options.TrainingOptions.of(settings)
        conflict = would_replace(settings["model_path"], wanted, settings.get("data_path"), step.built_on)
        if conflict:
            raise InputError(f"{settings['model_path']}: {conflict}; RUN=NAME keeps both, RESTART=1 replaces them")


def _carry_out(steps: Sequence["Step"]) -> None:
    from countermeasure.lists.fusion import fill

    for n, step in enumerate(steps, 1):
        with cli.step(f"[{n}/{len(steps)}] {step.heading}", step.tells):
            for folder, paths in step.links.items():
                aside = fill(folder, paths)
                if aside:
                    cli.warn(f"{folder}: is to hold links only; what was in it is in {aside} now")
            for command in step.commands:
                try:
                    _run(command)
                except InputError as error:
                    if not step.may_fail:
                        raise
                    cli.warn(f"{error}")


def _run(command: Sequence[str]) -> None:
    name, *arguments = command
    cli.detail(f"$ python {name}.py {shlex.join(arguments)}")
    importlib.import_module(name).main([*arguments, *_verbose()])


def _verbose() -> Sequence[str]:
    """Return the option that makes another script as verbose as this one."""
    return ["--verbose"] * cli.is_verbose()


command = cli.command(main)

if __name__ == "__main__":
    command()
