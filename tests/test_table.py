import gc
import json
import os
import pickle
import warnings
from contextlib import ExitStack

import numpy as np
import pytest

from countermeasure.errors import InputError
from countermeasure.lists import provenance
from countermeasure.lists import rows as rows_module
from countermeasure.lists import table as table_module
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.table import Table, grouped
from lists import write_described

LENGTHS = [3, 40, 1, 17, 25, 8, 100, 12]
LABELS = ["bonafide", "spoof", None, "spoof"] * 2


def item(table, i):
    return table.rows(i, 0, int(table.n_rows[i]))


def write_list(path, values, labels=None):
    with ListWriter(path) as out:
        for value, label in zip(values, labels or ["bonafide", "spoof"] * len(values), strict=False):
            out.append(value, label)
    return path


def pickled(path, items, protocol=4):
    path.write_bytes(pickle.dumps(items, protocol=protocol))
    return path


def described(path, arrays, **changes):
    """Write a list and the record that belongs to it, with changes in its index or of `n_frames` or `utterances`."""
    others = {name: changes.pop(name) for name in ("n_frames", "utterances") if name in changes}
    return write_described(path, arrays, LABELS, changes, **others)


def assert_holds(table, values):
    for i, value in enumerate(values):
        assert table.n_rows[i] == (0 if value is None else len(value))
        if value is not None:
            np.testing.assert_array_equal(item(table, i), value.reshape(len(value), -1))
            assert item(table, i).dtype == value.dtype.newbyteorder("=")
            middle = slice(len(value) // 3, len(value) - len(value) // 4)
            np.testing.assert_array_equal(table.rows(i, middle.start, middle.stop), item(table, i)[middle])


@pytest.fixture
def arrays(rng):
    return [rng.normal(size=(n, 4)).astype(np.float32) for n in LENGTHS]


@pytest.fixture
def data(tmp_path, arrays):
    return write_list(tmp_path / "train-mfcc.pkl", arrays)


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "form",
    [
        lambda array: array,
        lambda array: array.astype(np.float64),
        lambda array: array.astype(">f8"),
        lambda array: np.asfortranarray(array),
        lambda array: array[:, 0],
    ],
    ids=["float32", "float64", "big-endian", "Fortran", "scores"],
)
def test_a_table_is_its_list(tmp_path, arrays, protocol, form):
    values = [form(array) for array in arrays]
    with Table([pickled(tmp_path / "a.pkl", list(zip(values, LABELS, strict=True)), protocol)]) as table:
        assert (len(table), table.labels, table.n_columns) == (8, LABELS, values[0][0].size)
        assert_holds(table, values)
        assert (table.utterances, table.record, table.name(3)) == (None, None, "item 4")
        assert [doubt.startswith(f"{tmp_path / 'a.pkl'}: has no record") for doubt in table.doubts] == [True]


def test_numbers_of_several_kinds_are_read_as_float64(tmp_path, arrays):
    """Bare numbers are one row."""
    both = [arrays[0], arrays[1].astype(np.float64)]
    with Table([pickled(tmp_path / "a.pkl", [(value, "spoof") for value in both])]) as table:
        assert_holds(table, [value.astype(np.float64) for value in both])
    values = [2.5, np.float64(3), np.array([[4]]), np.array([5.5, 6.5], np.float32), arrays[0][:0]]
    with Table([pickled(tmp_path / "a.pkl", [(value, "spoof") for value in values])]) as table:
        assert [item(table, i).tolist() for i in range(5)] == [[[2.5]], [[3]], [[4]], [[5.5], [6.5]], []]
        assert item(table, 2).dtype == np.float64


@pytest.mark.parametrize("form", [lambda a: a, lambda a: a.astype(">f8"), lambda a: np.asfortranarray(a[:, 0])])
def test_a_list_of_rows_in_place_is_not_copied(tmp_path, arrays, form, monkeypatch):
    monkeypatch.setattr(table_module, "ListWriter", None)
    values = [None, *map(form, arrays)]
    with Table([pickled(tmp_path / "a.pkl", [(value, "spoof") for value in values])]) as table:
        assert_holds(table, values)


def test_lists_are_laid_side_by_side(tmp_path, arrays):
    """Frame scores [frames], features [frames, 4] and, a row a file, [1, 1] and [1, 2]."""
    scores = [array[:, 0] * 2 for array in arrays]
    columns = [write_list(tmp_path / "a.pkl", scores), write_list(tmp_path / "b.pkl", arrays)]
    with Table(columns) as table, Table(columns[::-1]) as reversed_table:
        assert (table.widths, table.n_columns, reversed_table.widths) == ([1, 4], 5, [4, 1])
        assert_holds(table, [np.column_stack([array[:, 0] * 2, array]) for array in arrays])
        np.testing.assert_array_equal(item(reversed_table, 1), np.column_stack([arrays[1], scores[1]]))

    files = [np.array([[i + 0.5]]) for i in range(4)]
    silences = [np.array([[100.0 * i, 7]]) for i in range(4)]
    with Table([write_list(tmp_path / "c.pkl", files), write_list(tmp_path / "d.pkl", silences)]) as table:
        np.testing.assert_array_equal(
            table.located(np.array([[1, 0, 1], [3, 0, 1]])).read(), [[1.5, 100, 7], [3.5, 300, 7]]
        )


def test_entries_that_one_list_leaves_out_have_no_rows(tmp_path, arrays):
    first = pickled(tmp_path / "a.pkl", [(arrays[0], "spoof"), None, (arrays[2], "spoof"), (arrays[3], "bonafide")])
    second = pickled(
        tmp_path / "b.pkl", [(arrays[0], None), (arrays[1], "bonafide"), (None, "spoof"), (arrays[3], None)]
    )
    with Table([first, second]) as table:
        assert table.n_rows.tolist() == [3, 0, 0, 17]
        assert table.labels == ["spoof", "bonafide", "spoof", "bonafide"]
        rows = np.concatenate([table.located(part).read() for part in table.parts(np.arange(4), 10)])
        np.testing.assert_array_equal(rows, np.tile(np.concatenate([arrays[0], arrays[3]]), 2))


def test_rows_held_in_memory_are_the_same(tmp_path, data, arrays):
    others = [array[:, :2].astype(np.float64) for array in arrays]
    with Table([data, write_list(tmp_path / "other.pkl", others)]) as table:
        table.hold()
        data.write_bytes(b"")  # it needs the file no more
        assert_holds(table, [np.hstack(pair) for pair in zip(arrays, others, strict=True)])


@pytest.mark.parametrize("form", [lambda a: a, np.asfortranarray, lambda a: a.astype(">f8")])
def test_rows_are_read_by_whoever_they_are_sent_to(tmp_path, arrays, form, monkeypatch):
    paths = [pickled(tmp_path / name, [(form(array), "spoof") for array in arrays]) for name in ("a.pkl", "b.pkl")]
    with Table(paths) as table:
        part = np.array([[1, 3, 20], [6, 0, 100]])
        sent = pickle.dumps(table.located(part))
        assert len(sent) < 2000
        with ExitStack() as opened:  # a worker keeps them open for as long as it lives
            once = rows_module._opened.__wrapped__
            monkeypatch.setattr(rows_module, "_opened", lambda there: opened.enter_context(once(there)))
            np.testing.assert_array_equal(pickle.loads(sent).read(), table.located(part).read())


def test_a_file_that_differs_anywhere_is_another_one(tmp_path):
    """Up to 128 kB; of larger files, 32 places are compared."""
    contents = [bytearray(100_000) for _ in range(4)] + [bytearray(100_001)]
    for content, place in zip(contents, (0, 60_000, 99_999), strict=False):
        content[place] = 1
    found = set()
    for content in contents:
        (tmp_path / "a").write_bytes(content)
        with rows_module.ListFile(tmp_path / "a") as file:
            found.add(file.identity)
    assert len(found) == 5


# -- records and their indices -----------------------------------------------------------------------


@pytest.mark.parametrize("form", [lambda a: a, lambda a: a[:, 0], lambda a: a.astype(np.float64), np.asfortranarray])
def test_a_list_with_an_index_is_not_gone_over(tmp_path, arrays, form, monkeypatch):
    monkeypatch.setattr(table_module, "read_items", None)
    values = [form(array) for array in arrays]
    values[3] = None
    with Table([described(tmp_path / "a.pkl", values)]) as table:
        assert (table.labels, table.doubts, table.name(3)) == (LABELS, [], "U3")
        assert table.record.n_frames == table.n_rows.tolist()
        assert_holds(table, values)


@pytest.mark.parametrize(
    "changes",
    [
        {"starts": [10**9] * 8},  # behind the end of the file
        {"starts": [-1] * 8},
        {"starts": [200] * 7},
        {"n_frames": [2**62] * 8},
        {"n_frames": [-5] * 8},
        {"row_shape": [0]},
        {"dtype": "O"},
        {"labels": "x" * 8},
    ],
    ids=str,
)
def test_an_index_that_cannot_be_is_not_believed(tmp_path, arrays, changes):
    with Table([described(tmp_path / "a.pkl", arrays, **changes)]) as table:
        assert_holds(table, arrays)


def test_an_index_may_reach_to_the_end_of_the_file_and_no_further(tmp_path, arrays, monkeypatch):
    monkeypatch.setattr(table_module, "read_items", lambda _: iter([]))
    path = described(tmp_path / "a.pkl", arrays)
    last = os.path.getsize(path) - 100 * 16  # bytes of the longest
    with Table([described(path, arrays, starts=[last] * 8)]) as table:
        assert item(table, 6).tobytes() == path.read_bytes()[last:]
    described(path, arrays, starts=[last] * 6 + [last + 1, last])
    with pytest.raises(InputError, match="empty"):
        Table([path])


def test_records_without_an_index_are_read(tmp_path, arrays):
    path = described(tmp_path / "a.pkl", arrays)
    record = provenance.path_of(path)
    values = json.loads(record.read_text())
    del values["index"]
    record.write_text(json.dumps({**values, "wrong_md5": ["U0"], "format": 1}))
    with Table([path]) as table:
        assert table.utterances == [f"U{i}" for i in range(8)]
        assert_holds(table, arrays)
    record.write_text(json.dumps({**values, "format": provenance.FORMAT + 1, "new": 1}))
    assert provenance.read(path) is None  # of a newer suite
    with Table([path]) as table:
        assert table.record is None


# -- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 43, 99, 1000])  # 43: the first two items just fit
@pytest.mark.parametrize("items", [[0, 1, 2, 3, 4, 5, 6, 7], [7, 2, 6], [6], []])
def test_parts_cover_every_row_once_and_in_order(data, arrays, n, items):
    with Table([data]) as table:
        parts = table.parts(np.array(items), n)
        found = [table.located(part).read() for part in parts]
    expected = [arrays[i] for i in items]
    np.testing.assert_array_equal(
        np.concatenate([*found, np.zeros((0, 4))]), np.concatenate([*expected, arrays[0][:0]])
    )
    stretches = [stretch for part in parts for stretch in part.tolist()]
    sizes = [sum(stop - start for _, start, stop in part.tolist()) for part in parts]
    assert all(0 < size <= n for size in sizes)
    # Only what fits nowhere whole is divided.
    for i in items:
        assert sum(item == i for item, _, _ in stretches) == -(-LENGTHS[i] // n)
    # No part is smaller than it has to be.
    for size, following in zip(sizes, parts[1:], strict=False):
        assert size + following[0][2] - following[0][1] > n


def test_groups_are_of_much_the_same_size():
    parts = [np.array([[i, 0, 1]]) for i in range(10)]
    for n, sizes in [(1, [10]), (3, [3, 3, 4]), (20, [1] * 10)]:
        groups = grouped(parts, n)
        assert [len(group) for group in groups] == sizes
        assert [part for group in groups for part in group] == parts


# -- refusals --------------------------------------------------------------------------------------


def shorter(arrays):
    return [*arrays[:3], arrays[3][:-1], *arrays[4:]]


@pytest.mark.parametrize(
    ("other", "labels", "message"),
    [
        (lambda arrays: arrays[:-1], None, r"other\.pkl: 7 items, but .*first\.pkl has 8"),
        (shorter, None, r"item 4 has rows: 17 in .*first\.pkl, 16 in .*other\.pkl"),
        (lambda arrays: [array[:2] for array in arrays], None, r"item 1 has rows: 3 in .*, 2 in"),
        (lambda arrays: [None, *(array[:1] for array in arrays[1:])], None, r"other\.pkl: describes whole recordings"),
        (lambda arrays: arrays, ["spoof"] * 8, r"item 1 is bonafide in .*first\.pkl, spoof in .*other\.pkl"),
        (lambda arrays: [], None, r"other\.pkl: the list is empty"),
        (lambda arrays: [arrays[0], arrays[1][:, :3]], None, r"item 2 has 3 dimensions, those before it 4"),
        (lambda arrays: [arrays[0][:, :0]], None, r"item 1 has 0 dimensions; make the list again"),
    ],
)
def test_lists_that_do_not_belong_together_are_refused(tmp_path, arrays, other, labels, message):
    paths = [write_list(tmp_path / "first.pkl", arrays), write_list(tmp_path / "other.pkl", other(arrays), labels)]
    with pytest.raises(InputError, match=message) as caught:
        Table(paths)
    assert "\n" not in str(caught.value)


def test_lists_of_other_utterances_are_refused(tmp_path, arrays):
    first = described(tmp_path / "first.pkl", arrays)
    utterances = [f"U{i}" for i in range(8)]
    with Table([first, described(tmp_path / "same.pkl", arrays)]) as table:
        assert table.utterances == utterances
    for paths in ([first, write_list(tmp_path / "bare.pkl", arrays)], [tmp_path / "bare.pkl", first]):
        with Table(paths) as table:
            assert (table.utterances, len(table.doubts)) == (utterances, 1)
    other = described(tmp_path / "other.pkl", arrays, utterances=[*utterances[:6], "U7", "U6"])
    with pytest.raises(InputError, match=r"other\.pkl: item 7 is U7, not U6"):
        Table([first, other])
    about_eight = {"utterances": ["U"] * 8, "speakers": [None] * 8, "n_frames": LENGTHS}
    write_described(first, [*arrays, arrays[0]], [*LABELS, None], **about_eight)
    with pytest.raises(InputError, match=r"first\.pkl: 9 items, but its record names 8"):
        Table([first])


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files where Linux shows them")
def test_files_are_closed_after_any_error(tmp_path, arrays):
    first = pickled(tmp_path / "first.pkl", [(array, "spoof") for array in arrays], 2)
    second = pickled(tmp_path / "second.pkl", [(array, "spoof") for array in shorter(arrays)], 2)
    broken = tmp_path / "broken.pkl"
    broken.write_bytes(first.read_bytes()[:-30])
    before = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for paths in ([first, broken], [first, tmp_path / "absent.pkl"], [first, second]):
            with pytest.raises((InputError, FileNotFoundError)):
                Table(paths)
        with Table([first, first]) as table:
            item(table, 0)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_list_that_is_replaced_while_it_is_opened_is_read_by_its_own_record(tmp_path, arrays, monkeypatch):
    path, new = described(tmp_path / "a.pkl", arrays), described(tmp_path / "new.pkl", arrays[::-1])
    describe = provenance.describe

    def replaced(*arguments):
        found = describe(*arguments)
        os.replace(new, path)
        return found

    monkeypatch.setattr(provenance, "describe", replaced)
    with Table([path]) as table:
        assert table.described[0].record
        assert_holds(table, arrays)
