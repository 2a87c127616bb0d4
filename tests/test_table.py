import gc
import json
import os
import pickle
import tracemalloc
import warnings
from contextlib import ExitStack

import numpy as np
import pytest

from countermeasure.errors import InputError
from countermeasure.lists import provenance
from countermeasure.lists import rows as rows_module
from countermeasure.lists import table as table_module
from countermeasure.lists.pickles import Index, ListWriter, read_list
from countermeasure.lists.table import Table
from lists import write_described

LENGTHS = [3, 40, 1, 17, 25, 8, 100, 12]


def write_list(path, values, labels=None):
    labels = labels or ["bonafide", "spoof"] * (len(values) // 2 + 1)
    with ListWriter(path) as out:
        for value, label in zip(values, labels, strict=False):
            out.append(value, label)
    return path


def pickled(path, items, protocol=4):
    path.write_bytes(pickle.dumps(items, protocol=protocol))
    return path


@pytest.fixture
def arrays(rng):
    return [rng.normal(size=(n, 4)).astype(np.float32) for n in LENGTHS]


@pytest.fixture
def data(tmp_path, arrays):
    return write_list(tmp_path / "train-mfcc.pkl", arrays)


# -- tables ----------------------------------------------------------------------------------------


def test_a_table_is_its_list(data, arrays):
    with Table([data]) as table:
        assert len(table) == len(arrays)
        assert table.labels == ["bonafide", "spoof"] * 4
        assert table.n_rows.tolist() == LENGTHS
        assert table.n_columns == 4
        for i in (6, 0, 7, 0):  # in any order
            np.testing.assert_array_equal(table.item(i), arrays[i])
        np.testing.assert_array_equal(table.rows(6, 30, 57), arrays[6][30:57])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "form",
    [
        lambda array: array,
        lambda array: array.astype(np.float64),
        lambda array: array.astype(">f8"),
        lambda array: np.asfortranarray(array),
        lambda array: array[::-1],
    ],
    ids=["float32", "float64", "big-endian", "Fortran", "reversed"],
)
def test_parts_of_lists_of_older_scripts_are_read(tmp_path, arrays, protocol, form):
    items = [(form(array), "spoof") for array in arrays]
    with Table([pickled(tmp_path / "a.pkl", items, protocol)]) as table:
        assert table.labels == ["spoof"] * len(arrays)
        for i, (array, _) in enumerate(items):
            np.testing.assert_array_equal(table.item(i), array)
            middle = slice(len(array) // 3, len(array) - len(array) // 4)
            rows = table.rows(i, middle.start, middle.stop)
            np.testing.assert_array_equal(rows, array[middle])
            assert rows.dtype == array.dtype.newbyteorder("=")


def test_lists_are_laid_side_by_side(tmp_path, arrays):
    """Frame scores [frames], features [frames, 4] and, a row a file, [1, 1] and [1, 2]."""
    scores = [array[:, 0] * 2 for array in arrays]
    columns = [write_list(tmp_path / "a.pkl", scores), write_list(tmp_path / "b.pkl", arrays)]
    with Table(columns) as table:
        assert table.n_columns == 5
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(table.item(i), np.column_stack([array[:, 0] * 2, array]))
        np.testing.assert_array_equal(table.rows(6, 5, 9)[:, 1:], arrays[6][5:9])
    with Table(columns[::-1]) as table:
        np.testing.assert_array_equal(table.item(1), np.column_stack([arrays[1], scores[1]]))

    files = [np.array([[i + 0.5]]) for i in range(4)]
    silences = [np.array([[100.0 * i, 7]]) for i in range(4)]
    with Table([write_list(tmp_path / "c.pkl", files), write_list(tmp_path / "d.pkl", silences)]) as table:
        np.testing.assert_array_equal(
            table.located(np.array([[1, 0, 1], [3, 0, 1]])).read(), [[1.5, 100, 7], [3.5, 300, 7]]
        )


def test_bare_numbers_are_one_row(tmp_path):
    with Table([pickled(tmp_path / "a.pkl", [(2.5, "spoof"), (np.float64(3), "bonafide"), (4.0, None)])]) as table:
        assert [table.item(i).tolist() for i in range(3)] == [[[2.5]], [[3.0]], [[4]]]


@pytest.mark.parametrize("in_memory", [False, True])
def test_entries_that_one_list_leaves_out_have_no_rows(tmp_path, arrays, in_memory):
    first = pickled(tmp_path / "a.pkl", [(arrays[0], "spoof"), None, (arrays[2], "spoof"), (arrays[3], "bonafide")])
    second = pickled(
        tmp_path / "b.pkl", [(arrays[0], None), (arrays[1], "bonafide"), (None, "spoof"), (arrays[3], None)]
    )
    with Table([first, second]) as table:
        if in_memory:
            table.hold()
        assert table.n_rows.tolist() == [3, 0, 0, 17]
        assert table.labels == ["spoof", "bonafide", "spoof", "bonafide"]
        rows = np.concatenate([table.located(part).read() for part in table.parts(np.arange(4), 10)])
        np.testing.assert_array_equal(rows, np.tile(np.concatenate([arrays[0], arrays[3]]), 2))


def test_rows_held_in_memory_are_the_same(tmp_path, data, arrays):
    other = write_list(tmp_path / "other.pkl", [array[:, :2].astype(np.float64) for array in arrays])
    with Table([data, other]) as table, Table([data, other]) as held:
        held.hold()
        assert (held.labels, held.n_columns) == (table.labels, 6)
        for part in table.parts(np.arange(len(arrays)), 30):
            np.testing.assert_array_equal(held.located(part).read(), table.located(part).read())
            assert held.located(part).read().dtype == table.located(part).read().dtype
        # What is held needs the file no more.
        data.write_bytes(b"")
        np.testing.assert_array_equal(held.item(1)[:, :4], arrays[1])


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="needs os.preadv")
def test_what_comes_in_pieces_is_whole(data, arrays, monkeypatch):
    """As beyond 2 GiB, which is as much as Linux reads in one go."""
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: read(file, [buffers[0][:100]], at))
    with Table([data]) as table:
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(table.item(i), array)
    for (value, _), array in zip(read_list(data), arrays, strict=True):
        np.testing.assert_array_equal(value, array)


# -- indices of records ----------------------------------------------------------------------------


def described(path, arrays, named=None, **changes):
    """Write a list and the record that belongs to it, with changes in its index or of `n_frames`."""
    others = {"n_frames": changes.pop("n_frames")} if "n_frames" in changes else {}
    return write_described(path, arrays, named or ["bonafide", "spoof", None, "spoof"] * 2, changes, **others)


@pytest.fixture
def no_walk(monkeypatch):
    """Nobody goes over a pickle."""
    monkeypatch.setattr(table_module, "read_items", None)


@pytest.mark.parametrize("form", [lambda a: a, lambda a: a[:, 0], lambda a: a.astype(np.float64), np.asfortranarray])
def test_a_list_with_an_index_is_not_gone_over(tmp_path, arrays, form, no_walk):
    values = [form(array) for array in arrays]
    values[3] = None
    with Table([described(tmp_path / "a.pkl", values)]) as table:
        assert table.labels == ["bonafide", "spoof", None, "spoof"] * 2
        assert table.n_rows.tolist() == [*LENGTHS[:3], 0, *LENGTHS[4:]]
        for i, value in enumerate(values):
            if value is not None:
                np.testing.assert_array_equal(table.item(i), value.reshape(len(value), -1))
                assert table.item(i).dtype == value.dtype
        np.testing.assert_array_equal(table.rows(6, 30, 57), values[6].reshape(100, -1)[30:57])


def test_lists_that_are_written_here_have_an_index(tmp_path, arrays):
    with ListWriter(tmp_path / "a.pkl") as out:
        out.append(arrays[0], "bonafide")
        out.append(None, "spoof")
        out.append(arrays[1], None)
    content = (tmp_path / "a.pkl").read_bytes()
    starts = [content.index(array.tobytes()) for array in arrays[:2]]
    assert out.index == Index("<f4", [4], "bs-", [starts[0], 0, starts[1]])


@pytest.mark.parametrize(
    "changes",
    [
        {"starts": [10**9] * 8},  # behind the end of the file
        {"starts": [-1] * 8},
        {"starts": [2**63 - 1] * 8},
        {"starts": [200] * 7},
        {"n_frames": [10**6] * 8},
        {"n_frames": [2**62] * 8},
        {"n_frames": [-5] * 8},
        {"row_shape": [10**6]},
        {"row_shape": [2**20, 2**20, 2**20]},
        {"row_shape": [-1]},
        {"dtype": "O"},
        {"dtype": "V1000000"},
        {"labels": "bs-s"},
        {"labels": "x" * 8},
    ],
    ids=str,
)
def test_an_index_that_cannot_be_is_not_believed(tmp_path, arrays, changes):
    with Table([described(tmp_path / "a.pkl", arrays, **changes)]) as table:
        assert table.n_rows.tolist() == LENGTHS
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(table.item(i), array)


def test_records_of_lists_without_an_index_are_read(tmp_path, arrays):
    path = described(tmp_path / "a.pkl", arrays)
    record = provenance.path_of(path)
    values = json.loads(record.read_text())
    del values["index"]
    record.write_text(json.dumps({**values, "format": 1}))
    with Table([path]) as table:
        assert table.utterances == [f"U{i}" for i in range(8)]
        np.testing.assert_array_equal(table.item(6), arrays[6])


def test_the_memory_of_a_long_list_is_some_tens_of_bytes_an_item(tmp_path):
    n = 6_000
    one = np.zeros((1, 2), np.float32)
    path = described(tmp_path / "a.pkl", [one] * n, ["spoof"] * n)
    provenance.path_of(path).unlink()
    for _ in range(2):  # the first time, caches are filled, too
        tracemalloc.start()
        with Table([path]) as table:
            parts = table.parts(np.arange(n))
            used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(parts) == n // 4096 + 1
    assert used < 80 * n


@pytest.mark.parametrize("form", [lambda a: a, np.asfortranarray, lambda a: a.astype(">f8")])
def test_rows_are_read_by_whoever_they_are_sent_to(tmp_path, arrays, form, monkeypatch):
    paths = [tmp_path / "a.pkl", tmp_path / "b.pkl"]
    for path in paths:
        pickled(path, [(form(array), "spoof") for array in arrays])
    with Table(paths) as table:
        part = np.array([[1, 3, 20], [6, 0, 100]])
        sent = pickle.dumps(table.located(part))
        expected = table.located(part).read()
        assert len(sent) < 2000
        with ExitStack() as opened:  # a worker keeps them open for as long as it lives
            once = rows_module._opened.__wrapped__
            monkeypatch.setattr(rows_module, "_opened", lambda there: opened.enter_context(once(there)))
            np.testing.assert_array_equal(pickle.loads(sent).read(), expected)


# -- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 17, 43, 99, 1000])  # 43: the first two items just fit
@pytest.mark.parametrize("items", [[0, 1, 2, 3, 4, 5, 6, 7], [7, 2, 6], [2], [6]])
def test_parts_cover_every_row_once_and_in_order(data, arrays, n, items):
    with Table([data]) as table:
        parts = table.parts(np.array(items), n)
        segments = [segment for part in parts for segment in part.tolist()]
        assert [(i, row) for i, start, stop in segments for row in range(start, stop)] == [
            (i, row) for i in items for row in range(LENGTHS[i])
        ]
        np.testing.assert_array_equal(
            np.concatenate([table.located(part).read() for part in parts]), np.concatenate([arrays[i] for i in items])
        )
    sizes = [sum(stop - start for _, start, stop in part.tolist()) for part in parts]
    assert min(sizes) > 0
    assert max(sizes) <= n
    # Only what fits nowhere whole is torn.
    for i in items:
        assert sum(item == i for item, _, _ in segments) == -(-LENGTHS[i] // n)
    # No part is smaller than it has to be.
    for size, following in zip(sizes, parts[1:], strict=False):
        assert size + following[0][2] - following[0][1] > n


def test_no_item_is_no_part(data):
    with Table([data]) as table:
        assert list(table.parts([])) == []


# -- refusals --------------------------------------------------------------------------------------


def shorter(arrays):
    return [*arrays[:3], arrays[3][:-1], *arrays[4:]]


@pytest.mark.parametrize(
    ("other", "labels", "message"),
    [
        (lambda arrays: arrays[:-1], None, r"other\.pkl: 7 items, but .*first\.pkl has 8"),
        (shorter, None, r"item 4 has rows: 17 in .*first\.pkl, 16 in .*other\.pkl"),
        (lambda arrays: [array[:1] for array in arrays], None, r"other\.pkl: describes whole recordings"),
        (lambda arrays: arrays, ["spoof"] * 8, r"item 1 is bonafide in .*first\.pkl, spoof in .*other\.pkl"),
        (lambda arrays: [], None, r"other\.pkl: the list is empty"),
        (
            lambda arrays: [arrays[0], *(array[:, :3] for array in arrays[1:])],
            None,
            r"other\.pkl: item 2 has 3 dimensions, those before it 4",
        ),
    ],
)
def test_lists_that_do_not_belong_together_are_refused(tmp_path, arrays, other, labels, message):
    paths = [write_list(tmp_path / "first.pkl", arrays), write_list(tmp_path / "other.pkl", other(arrays), labels)]
    with pytest.raises(InputError, match=message) as caught:
        Table(paths)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files where Linux shows them")
@pytest.mark.parametrize("protocol", [2, 4])
def test_files_are_closed_whatever_happens(tmp_path, arrays, protocol):
    first = pickled(tmp_path / "first.pkl", [(array, "spoof") for array in arrays], protocol)
    second = pickled(tmp_path / "second.pkl", [(array, "spoof") for array in shorter(arrays)], protocol)
    broken = tmp_path / "broken.pkl"
    broken.write_bytes(first.read_bytes()[:-30])
    before = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for paths in ([first, broken], [first, tmp_path / "absent.pkl"], [first, second]):
            with pytest.raises((InputError, FileNotFoundError)):
                Table(paths)
        with Table([first, first]) as table:
            table.item(0)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert len(os.listdir("/proc/self/fd")) == before
