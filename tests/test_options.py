import argparse
from functools import partial

import pytest

from countermeasure import options
from countermeasure.errors import InputError
from countermeasure.options import LogisticOptions, TrainingOptions


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((name, -1, f"--{name} -1: must be a number from") for name in ("max_iter", "tol", "reg_covar", "seed")),
        ("n_components", 0, "--n_components 0: must be a number from 1 on"),
        ("tol", float("nan"), "--tol nan"),
        ("var_floor", 1.5, "from 0 to 1"),
        ("em", "online", "--em online: must be one of incremental, batch"),
    ],
)
def test_options_out_of_range_are_refused(name, value, message):
    with pytest.raises(InputError, match=message):
        TrainingOptions(**{name: value})


@pytest.mark.parametrize("l2", [0, -1, float("inf"), float("nan")])
def test_penalties_that_are_none_are_refused(l2):
    with pytest.raises(InputError, match=r"--l2 .*: must be a number above 0"):
        LogisticOptions(l2)


def test_the_defaults_of_base_models_are_those_of_the_options():
    parser = argparse.ArgumentParser()
    options.add_base_training_arguments(parser)
    settings = vars(parser.parse_args([]))
    assert TrainingOptions.of(settings) == TrainingOptions(512, 300, 1e-3, 1e-3, 0.0, 0, "incremental")
    assert (settings["data_path"], settings["model_path"]) == ("./data/train/mfcc.pkl", "./model/mfcc")


def test_the_defaults_of_logistic_fusions_are_those_of_the_options():
    parser = argparse.ArgumentParser()
    options.add_fusion_training_arguments(parser, 64, "lists")
    settings = vars(parser.parse_args(["--data_dir", "d", "--model_path", "m", "--method", "logistic"]))
    assert options.fusion_options(settings) == LogisticOptions(1.0)


@pytest.mark.parametrize("n_components", [64, None])
def test_a_fusions_arguments_are_the_options_of_its_method(n_components):
    parser = argparse.ArgumentParser()
    options.add_fusion_training_arguments(parser, n_components, "lists")

    def parsed(*arguments):
        settings = vars(parser.parse_args(["--data_dir", "d", "--model_path", "m", *arguments]))
        return options.fusion_options(settings), settings

    found, rest = parsed("--tol", "0.1", "--em", "batch", "--restart")
    assert found == TrainingOptions(n_components, tol=0.1, em="batch")
    assert rest == {
        "data_dir": "d", "model_path": "m",
        "load_model_path": None, "log": None, "restart": True, "n_jobs": None, "dask": None,
    }  # fmt: skip
    assert parsed("--method", "logistic", "--l2", "2")[0] == LogisticOptions(2)
    assert parsed("--method", "logistic", "--n_jobs", "1")[1]["n_jobs"] == 1
    with pytest.raises(SystemExit):
        parsed("--n_jobs", "0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            (("--dask", text), f"{text!r} is neither")
            for text in ("somewhere", "local:0", "local:1000", "tcp://", "tcp://a")
        ),
        (("--dask", "local:2", "--n_jobs", "2"), "not allowed with argument"),
    ],
)
def test_an_address_that_is_none_is_refused(capsys, arguments, message):
    parser = argparse.ArgumentParser()
    options.add_workers(parser)
    for known in ("tcp://node1:8786", "tls://[::1]:65535", "local:999", "local:1"):
        assert parser.parse_args(["--dask", known]).dask == known
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("add", "names"),
    [
        (options.add_testing_arguments, "--data_path, --model_path_bon, --model_path_sp, --label_path, --output_path"),
        (
            partial(options.add_preprocessing_arguments, is_fusion=True),
            "--data_dir, --data_split, --model_path, --model_name, --output_path",
        ),
        (options.add_preprocessing_arguments, "--data_path, --data_split, --model_path, --model_name, --output_path"),
        (lambda parser: options.add_fusion_training_arguments(parser, 64, "lists"), "--data_dir, --model_path"),
    ],
)
def test_what_a_script_cannot_do_without_is_asked_for(capsys, add, names):
    parser = argparse.ArgumentParser()
    add(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert capsys.readouterr().err.endswith(f"the following arguments are required: {names}\n")
