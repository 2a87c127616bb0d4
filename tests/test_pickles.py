import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from countermeasure.errors import InputError
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ArrayRef, ListWriter, dump, read_estimator, read_items, read_list


@pytest.fixture
def items(rng):
    return [
        (rng.normal(size=(n, 6)).astype(np.float32), "bonafide" if n % 2 else "spoof")
        for n in rng.integers(1, 30, size=1503)
    ]


def pickled(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def assert_same(read, expected):
    read = list(read)
    assert len(read) == len(expected)
    for (value, label), (expected_value, expected_label) in zip(read, expected, strict=True):
        assert label == expected_label
        np.testing.assert_array_equal(value, expected_value)


def test_pickle_load_gives_the_written_list_back(tmp_path, items):
    with ListWriter(tmp_path / "a.pkl") as out:
        for item in items:
            out.append(*item)
    with open(tmp_path / "a.pkl", "rb") as f:
        loaded = pickle.load(f)
    assert type(loaded) is list
    assert all(type(item) is tuple for item in loaded)
    assert loaded[0][0].dtype == np.float32
    assert_same(loaded, items)


def test_a_written_list_names_modules_that_numpy_1_knows(tmp_path):
    with ListWriter(tmp_path / "a.pkl") as out:
        out.append(np.zeros((2, 3), np.float32), "spoof")
    content = (tmp_path / "a.pkl").read_bytes()
    assert b"numpy.core.multiarray" in content
    assert b"numpy._core" not in content
    assert content[:2] == b"\x80\x03"


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "<i8", "u1"])
@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (1, 1), (3, 60), (255,), (256, 1), (70000, 1), (2, 3, 4), (1, 2, 3, 4)]
)
def test_items_are_written_as_the_pickler_writes_them(tmp_path, dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    with ListWriter(tmp_path / "a.pkl") as out:
        out.append(array, "spoof")
    buffer = io.BytesIO()
    dump((array, "spoof"), buffer)
    assert (tmp_path / "a.pkl").read_bytes() == b"\x80\x03](" + buffer.getvalue()[2:-1] + b"e."


def test_equal_lists_have_equal_bytes_whatever_the_identity_of_their_parts(tmp_path):
    shared = np.arange(6.0).reshape(2, 3)
    label = "spoof"
    with ListWriter(tmp_path / "a.pkl") as out:
        out.append(shared, label)
        out.append(shared, label)
    with ListWriter(tmp_path / "b.pkl") as out:
        out.append(shared.copy(), "".join(["sp", "oof"]))
        out.append(np.asfortranarray(shared), "spoof")
    assert (tmp_path / "a.pkl").read_bytes() == (tmp_path / "b.pkl").read_bytes()


def test_an_error_while_writing_leaves_the_old_list(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_text("old")

    def interrupted():
        with ListWriter(path) as out:
            out.append(np.zeros(3), "spoof")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.pkl"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "form",
    [
        lambda item: item,
        lambda item: (item[0].astype(np.float64).T, item[1]),  # Fortran order
        lambda item: (item[0][:0], item[1]),
        lambda item: (np.float64(item[0][0, 0]), np.str_(item[1])),
        lambda item: (item[0].astype(">f8"), None),
    ],
)
def test_lists_of_older_scripts_are_read(tmp_path, items, protocol, form):
    expected = [form(item) for item in items[:1100]]
    assert_same(read_list(pickled(tmp_path / "a.pkl", expected, protocol)), expected)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bare_arrays_and_left_out_entries_are_read(tmp_path, items, protocol):
    bare = [array for array, _ in items]
    assert_same(read_list(pickled(tmp_path / "a.pkl", bare, protocol)), [(array, None) for array in bare])
    mixed = [None, items[0], None]
    assert_same(read_list(pickled(tmp_path / "b.pkl", mixed, protocol)), [(None, None), items[0], (None, None)])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_item_that_occurs_several_times_is_read(tmp_path, items, protocol):
    expected = items[:3] * 5
    assert_same(read_list(pickled(tmp_path / "a.pkl", expected, protocol)), expected)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_array_that_several_items_share_is_read(tmp_path, items, protocol):
    expected = [(items[0][0], "spoof"), items[1], (items[0][0], "bonafide")]
    assert_same(read_list(pickled(tmp_path / "a.pkl", expected, protocol)), expected)


def test_a_list_pickled_by_the_other_numpy_is_read(tmp_path, items):
    content = pickle.dumps(items[:5], protocol=3)
    for old, new in ((b"numpy.core.", b"numpy._core."), (b"numpy._core.", b"numpy.core.")):
        (tmp_path / "a.pkl").write_bytes(content.replace(old, new))
        assert_same(read_list(tmp_path / "a.pkl"), items[:5])


def test_arrays_stay_in_the_file_until_asked_for(tmp_path, items):
    with ListWriter(tmp_path / "a.pkl") as out:
        out.append(*items[0])
    ((value, _),) = read_items(tmp_path / "a.pkl")
    assert isinstance(value, ArrayRef)
    assert value.shape == items[0][0].shape


def test_memory_does_not_grow_with_the_list(tmp_path):
    """5,000 arrays of 40 kB are 200 MB; the reader must not keep what it has handed on."""
    path = tmp_path / "long.pkl"
    array = np.zeros((170, 60), np.float32)
    with ListWriter(path) as out:
        for _ in range(5000):
            out.append(array, "spoof")
    program = (
        "import resource, sys\n"
        "from countermeasure.lists.pickles import read_list\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read = read_list(sys.argv[1]); next(read); before = peak()\n"
        "n = sum(len(array) for array, _ in read)\n"
        "print(n, peak() - before)\n"
    )
    out = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout
    n, growth = map(int, out.split())
    assert n == 4999 * 170
    # ru_maxrss is in kB on Linux and in bytes on macOS.
    assert growth < (8 << 10) * (1024 if sys.platform == "darwin" else 1)


class Hostile:
    def __reduce__(self):
        return (print, ("code from a pickle ran",))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_no_code_of_a_pickle_runs(tmp_path, capsys, protocol):
    path = pickled(tmp_path / "a.pkl", [(np.zeros(2), "spoof"), Hostile()], protocol)
    with pytest.raises(InputError, match=r"asks for '\w+\.print'"):
        list(read_list(path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"\x80\x04]", "cut short"),
        (b"not a pickle", "opcode"),
        (pickle.dumps({"a": 1}), "holds no list"),
        (pickle.dumps([({}, "spoof")]), "item 1 is not"),
        (pickle.dumps([(np.array(["x"]), "spoof")], 4), "no array of numbers"),
        (pickle.dumps([(np.array([None, 1]), "spoof")], 4), "unknown type"),
        (b"\x80\x03](" + b"B\xff\xff\xff\xff", "cut short"),
        (b"\x80\x03]" + b"(" * 100 + b".", "ends in the middle"),
        (b"\x80\x03](K\x01\x85q\x00" + b"h\x09" + b"e.", "Memo value not found"),
        (b"\x80\x03a.", "damaged"),
        (b"\x80\x03]K\x01b.", "damaged"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_list(tmp_path / "a.pkl"))
    assert str(tmp_path / "a.pkl") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_of_no_unicode_is_refused(tmp_path):
    content = pickle.dumps([(np.zeros(2), np.str_("s"))], protocol=4)
    assert content.count(b"s\0\0\0") == 1
    (tmp_path / "a.pkl").write_bytes(content.replace(b"s\0\0\0", b"\xff\xff\xff\x7f"))
    with pytest.raises(InputError, match="damaged"):
        list(read_list(tmp_path / "a.pkl"))
    with pytest.raises(InputError, match="damaged"):
        list(read_list(pickled(tmp_path / "a.pkl", [(np.zeros(2), "\ud800")])))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_list_and_no_record(tmp_path):
    os.mkfifo(tmp_path / "a.pkl")
    with pytest.raises(InputError, match="pipe"):
        list(read_list(tmp_path / "a.pkl"))
    os.mkfifo(tmp_path / "b.pkl.json")
    with pytest.raises(InputError, match="pipe"):
        provenance.read(tmp_path / "b.pkl")


def test_a_list_cut_anywhere_is_refused(tmp_path, items):
    content = pickle.dumps(items[:2], protocol=4)
    for end in range(len(content)):
        (tmp_path / "a.pkl").write_bytes(content[:end])
        with pytest.raises(InputError):
            list(read_list(tmp_path / "a.pkl"))


def test_a_shape_that_does_not_fit_its_data_is_refused(tmp_path):
    content = pickle.dumps([(np.zeros((3, 5), np.float32), "spoof")], protocol=3)
    assert content.count(b"K\x03K\x05\x86") == 1
    (tmp_path / "a.pkl").write_bytes(content.replace(b"K\x03K\x05\x86", b"K\x30K\x05\x86"))
    with pytest.raises(InputError, match="960 bytes comes with 60"):
        list(read_list(tmp_path / "a.pkl"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_mixture_pickled_by_scikit_learn_is_read_without_it(tmp_path, rng, protocol):
    model = GaussianMixture(3, covariance_type="diag", random_state=0).fit(rng.normal(size=(90, 2)))
    state = read_estimator(pickled(tmp_path / "bon.gmm", model, protocol))
    np.testing.assert_array_equal(state["means_"], model.means_)
    assert state["n_iter_"] == model.n_iter_
    assert state["covariance_type"] == "diag"


def test_dump_gives_what_pickle_loads():
    value = {"a": [1, 2.5, None, True, "ß"], "b": np.arange(4.0).reshape(2, 2), "c": (1, 2)}
    buffer = io.BytesIO()
    dump(value, buffer)
    loaded = pickle.loads(buffer.getvalue())
    assert loaded["a"] == value["a"]
    assert loaded["c"] == value["c"]
    np.testing.assert_array_equal(loaded["b"], value["b"])
