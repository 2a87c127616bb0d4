import itertools

import numpy as np
import pytest

from countermeasure.compute import workers
from countermeasure.errors import InputError
from countermeasure.gmm.moments import means, sample, standardisation
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.table import Table

LENGTHS = [3, 40, 1, 17, 25, 8, 100, 12]


def write_list(path, arrays):
    with ListWriter(path) as out:
        for i, array in enumerate(arrays):
            out.append(array, ("bonafide", "spoof")[i % 2])
    return path


@pytest.fixture
def arrays(rng):
    return [rng.normal(size=(n, 4)).astype(np.float32) for n in LENGTHS]


# -- standardisation -------------------------------------------------------------------------------


def divided(monkeypatch, n_rows):
    """Let parts have at most `n_rows` rows, whatever is asked for."""
    parts = Table.parts
    monkeypatch.setattr(Table, "parts", lambda self, items, n=None: parts(self, items, n_rows))


@pytest.mark.parametrize("n_rows", [1, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardisation_is_mean_and_deviation_of_all_rows(tmp_path, rng, monkeypatch, dtype, n_rows):
    """Sums of squares in float32 would lose everything at an offset of 10⁴."""
    scale, offset = [1, 100, 1e-4, 0.5], [1e4, -1e5, 0, 3]
    arrays = [(rng.normal(size=(n, 4)) * scale + offset).astype(dtype) for n in LENGTHS]
    data = write_list(tmp_path / "a.pkl", arrays)
    divided(monkeypatch, n_rows)
    items = np.array([0, 1, 3, 6])
    with Table([data]) as table, workers(2) as some:
        standard = standardisation(table, items, some)
    rows = np.concatenate([arrays[i] for i in items]).astype(np.float64)
    np.testing.assert_allclose(standard.mean, rows.mean(axis=0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(standard.scale, rows.std(axis=0), rtol=1e-6)
    standardised = standard.apply(rows)
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=5e-3)
    np.testing.assert_allclose(standardised.std(axis=0), 1, rtol=1e-4)


@pytest.mark.parametrize("value", [0, -12345.678, 3e-7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_dimension_has_the_scale_1(tmp_path, arrays, monkeypatch, value, dtype):
    for array in arrays:
        array[:, 2] = value
    data = write_list(tmp_path / "a.pkl", [array.astype(dtype) for array in arrays])
    divided(monkeypatch, 7)
    with Table([data]) as table, workers(1) as some:
        standard = standardisation(table, np.arange(len(arrays)), some)
    assert standard.mean[2] == pytest.approx(value)
    assert standard.scale[2] == 1
    assert (standard.scale[[0, 1, 3]] != 1).all()


@pytest.mark.parametrize("wrong", [[np.nan, 0], [np.inf, -np.inf], [1e200, 0]], ids=str)
def test_values_that_are_no_numbers_are_refused_with_their_item(tmp_path, arrays, wrong):
    arrays = [array.astype(np.float64) for array in arrays]
    arrays[1][0, 0] = 1e7  # large, and no error
    arrays[4][[3, 9], 1] = wrong
    with (
        Table([write_list(tmp_path / "a.pkl", arrays)]) as table,
        workers(1) as some,
        pytest.raises(InputError, match=r"a\.pkl: item 5 "),
    ):
        standardisation(table, np.arange(len(arrays)), some)


@pytest.mark.parametrize("scale", ["1.0e-11", "9.0e+16"])
def test_a_dimension_that_varies_too_little_or_too_much_is_refused(tmp_path, arrays, scale):
    """Their squares are variances that `models.read_model` refuses."""
    scaled = [array * np.array([1, 1, float(scale), 1]) for array in arrays]
    with (
        Table([write_list(tmp_path / "a.pkl", scaled)]) as table,
        workers(1) as some,
        pytest.raises(InputError, match=r"a\.pkl: dimension 3 has a standard deviation of [\d.]+e(-11|\+16); "),
    ):
        standardisation(table, np.arange(len(arrays)), some)


def test_means_are_those_of_each_item(tmp_path, arrays):
    with Table([write_list(tmp_path / "a.pkl", arrays)]) as table:
        found = means(table, np.array([6, 0]))
    np.testing.assert_allclose(found, [arrays[6].mean(axis=0), arrays[0].mean(axis=0)], rtol=1e-5, atol=1e-6)
    arrays[2][0, 3] = 1e25  # the only row
    with Table([write_list(tmp_path / "b.pkl", arrays)]) as table, pytest.raises(InputError, match=r"b\.pkl: item 3 "):
        means(table, np.array([6, 2]))


# -- samples ---------------------------------------------------------------------------------------


@pytest.fixture
def numbered(tmp_path):
    """A table whose rows hold their own numbers."""
    starts = np.cumsum([0, *LENGTHS])
    arrays = [np.arange(a, b, dtype=np.float32)[:, None] for a, b in itertools.pairwise(starts)]
    arrays[3] = None
    with Table([write_list(tmp_path / "a.pkl", arrays)]) as table:
        yield table


def test_samples_are_in_order_and_without_repetition(numbered, rng):
    items = np.array([1, 2, 4, 6])
    allowed = np.concatenate([numbered.rows(i, 0, numbered.n_rows[i])[:, 0] for i in items])
    for n in (1, 20, 100):
        drawn = sample(numbered, items, n, rng)
        assert drawn.shape == (n, 1)
        assert (np.diff(drawn[:, 0]) > 0).all()
        assert np.isin(drawn, allowed).all()


def test_where_there_are_fewer_all_are_taken(numbered, rng):
    items = np.array([0, 1, 6])
    for n in (143, 144, 10_000):
        np.testing.assert_array_equal(
            sample(numbered, items, n, rng), np.concatenate([numbered.rows(i, 0, numbered.n_rows[i]) for i in items])
        )
