import io
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from countermeasure.errors import InputError
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ArrayRef, Index, ListWriter, read_estimator, read_items, read_list


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, size=1003)  # more than one batch of the pickler
    return [(rng.normal(size=(n, 6)).astype(np.float32), "bonafide" if n % 2 else "spoof") for n in lengths]


def pickled(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def written(path, items):
    with ListWriter(path) as out:
        for item in items:
            out.append(*item)
    return path


def assert_same(read, expected):
    read = list(read)
    assert len(read) == len(expected)
    for (value, label), (expected_value, expected_label) in zip(read, expected, strict=True):
        assert label == expected_label
        assert (value is None) == (expected_value is None)
        assert value is None or np.array_equal(value, expected_value)


# -- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (3, 60), (255,), (256, 1), (70000, 1), (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1"])
def test_lists_are_written_as_the_pickler_writes_them(tmp_path, dtype, shape):
    """The expected bytes are those of the standard library's pickler in Python, under the names of NumPy 1."""
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    items = [(array, "spoof"), (None, None)] * (501 if shape == (1, 1) else 1)  # more than one batch
    buffer = io.BytesIO()
    pickler = pickle._Pickler(buffer, 3)
    pickler.fast = True
    pickler.dump(items)
    content = written(tmp_path / "a.pkl", items).read_bytes()
    assert content == buffer.getvalue().replace(b"numpy._core.", b"numpy.core.")


def test_equal_lists_have_equal_bytes_for_any_identity_of_their_parts(tmp_path):
    shared, label = np.arange(6.0).reshape(2, 3), "spoof"
    one = written(tmp_path / "a.pkl", [(shared, label), (shared, label)])
    other = written(tmp_path / "b.pkl", [(shared.copy(), "".join(["sp", "oof"])), (np.asfortranarray(shared), "spoof")])
    assert one.read_bytes() == other.read_bytes()


def test_an_index_says_where_the_arrays_are(tmp_path, items):
    items = [items[0], (None, "spoof"), (items[2][0], None), *items[3:]]
    with ListWriter(tmp_path / "a.pkl") as out:
        for item in items:
            out.append(*item)
    found = [value for value, _ in read_items(tmp_path / "a.pkl")]
    starts = [value.offset if value else 0 for value in found]
    assert out.index() == Index("<f4", [6], "".join((label or "-")[0] for _, label in items), starts)
    content = (tmp_path / "a.pkl").read_bytes()
    assert all(content.startswith(items[i][0].tobytes(), starts[i]) for i in (0, 2, 1000, 1002))
    assert isinstance(found[0], ArrayRef)
    assert (found[0].shape, found[0].dtype, found[0].fortran) == (items[0][0].shape, np.float32, False)


# -- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "form",
    [
        lambda items: items,
        lambda items: [(array.astype(np.float64).T, label) for array, label in items],  # Fortran order
        lambda items: [(array[:0], label) for array, label in items],
        lambda items: [(array.astype(">f8"), None) for array, _ in items],
        lambda items: [(np.float64(array[0, 0]), np.str_(label)) for array, label in items],
        lambda items: items[:3] * 5,  # the same items
        lambda items: [(items[0][0], label) for _, label in items],  # the same array
        lambda items: [(None, label) for _, label in items[:3]] + items[3:],
        lambda items: [],
    ],
)
def test_lists_of_older_scripts_are_read(tmp_path, items, protocol, form):
    expected = form(items)
    assert_same(read_list(pickled(tmp_path / "a.pkl", expected, protocol)), expected)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bare_arrays_and_left_out_entries_are_read(tmp_path, items, protocol):
    path = pickled(tmp_path / "a.pkl", [None, items[0], items[1][0], None], protocol)
    assert_same(read_list(path), [(None, None), items[0], (items[1][0], None), (None, None)])


def test_a_list_pickled_by_the_other_numpy_is_read(tmp_path, items):
    content = pickle.dumps(items[:5], protocol=3)
    for old, new in ((b"numpy.core.", b"numpy._core."), (b"numpy._core.", b"numpy.core.")):
        (tmp_path / "a.pkl").write_bytes(content.replace(old, new))
        assert_same(read_list(tmp_path / "a.pkl"), items[:5])


@pytest.mark.parametrize("protocol", [2, 5])
def test_memory_does_not_grow_with_the_list(tmp_path, protocol):
    """200 arrays of 80 kB are 16 MB; the reader must not keep what it has handed on."""
    path = pickled(tmp_path / "long.pkl", [(np.full((170, 60), i), "spoof") for i in range(200)], protocol)
    read = read_list(path)
    next(read)
    tracemalloc.start()
    assert sum(len(array) for array, _ in read) == 199 * 170
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_mixture_pickled_by_scikit_learn_is_read_without_it(tmp_path, rng, protocol):
    model = GaussianMixture(3, covariance_type="diag", random_state=0).fit(rng.normal(size=(90, 2)))
    model.more_ = {"a": {"n": 2**40, "b": [1, None, True]}, "c": -0.5, "none": {}}
    _, state = read_estimator(pickled(tmp_path / "bon.gmm", model, protocol))
    np.testing.assert_array_equal(state["means_"], model.means_)
    assert {name: state[name] for name in ("n_iter_", "covariance_type", "lower_bound_", "more_")} == {
        "n_iter_": model.n_iter_,
        "covariance_type": "diag",
        "lower_bound_": model.lower_bound_,
        "more_": model.more_,
    }


# -- what is refused ---------------------------------------------------------------------------------


class Hostile:
    def __reduce__(self):
        return (print, ("code from a pickle ran",))


@pytest.mark.parametrize("protocol", [2, 5])
def test_no_code_of_a_pickle_runs(tmp_path, capsys, protocol):
    path = pickled(tmp_path / "a.pkl", [(np.zeros(2), "spoof"), Hostile()], protocol)
    with pytest.raises(InputError, match=r"asks for '\w+\.print'"):
        list(read_list(path))
    assert capsys.readouterr().out == ""


SHAPE = b"K\x03K\x05\x86"  # of an array [3, 5]
ARRAY = pickle.dumps([(np.zeros((3, 5), np.float32), "spoof")], protocol=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"\x80\x04]", "cut short, at byte 3"),
        (b"not a pickle", "opcode that lists and models do not need"),
        (pickle.dumps({"a": 1}), "does not hold a list"),
        (pickle.dumps([({}, "spoof")]), "item 1 is not"),
        (pickle.dumps([(np.zeros(2), "spoof"), (np.zeros(2), 1)]), "item 2 is not"),
        (pickle.dumps([(np.array(["x"]), "spoof")], 4), "item 1 is not an array of numbers"),
        (pickle.dumps([(np.array([None, 1]), "spoof")], 4), "unknown type"),
        (pickle.dumps([(np.zeros(2), "\ud800")]), "damaged"),
        (pickle.dumps([(np.zeros(2), np.str_("s"))], 4).replace(b"s\0\0\0", b"\xff\xff\xff\x7f"), "damaged"),
        (b"\x80\x03](" + b"B\xff\xff\xff\xff", "cut short"),
        (b"\x80\x03]" + b"(" * 100 + b".", "ends in the middle"),
        (b"\x80\x03](].", "ends in the middle"),
        (b"\x80\x03]].", "ends in the middle"),
        (b"\x80\x03](K\x01\x85q\x00" + b"h\x09" + b"e.", "Memo value not found"),
        (b"\x80\x03]q\x00h\x00a.", "item 1 is not"),  # itself
        (b"\x80\x03a.", "damaged"),
        (b"\x80\x03]K\x01b.", "damaged"),
        (ARRAY.replace(SHAPE, b"K\x30K\x05\x86"), "960 bytes comes with 60"),
        (ARRAY.replace(SHAPE, b"J\xff\xff\xff\xff\x85"), "unknown form"),
        (ARRAY.replace(SHAPE, b"K\x01K\x01(K\x03K\x01K\x05tl"), "damaged|opcode"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_list(tmp_path / "a.pkl"))
    assert str(tmp_path / "a.pkl") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_mixture_is_refused(tmp_path):
    for content in (b"\x80\x03N.", ARRAY, b"\x80\x03csklearn.mixture._gaussian_mixture\nGaussianMixture\n)\x81."):
        (tmp_path / "bon.gmm").write_bytes(content)
        with pytest.raises(InputError, match="holds no Gaussian mixture model"):
            read_estimator(tmp_path / "bon.gmm")


def test_damaged_data_of_protocol_2_are_refused(tmp_path):
    path = pickled(tmp_path / "a.pkl", [(np.full(1000, np.pi), "spoof")], 2)
    content = path.read_bytes()
    for changed in (
        content.replace(b"-DT\xc3\xbb", b"-DT\xff\xff", 1),
        content.replace(b"-DT\xc3\xbb", b"-DTabc"[:5], 1),
    ):
        path.write_bytes(changed)
        with pytest.raises(InputError, match=r"a\.pkl: an array is damaged"):
            list(read_list(path))


def test_a_pipe_is_no_list_and_no_record(tmp_path):
    os.mkfifo(tmp_path / "a.pkl")
    os.mkfifo(tmp_path / "b.pkl.json")
    for read, name in ((lambda path: list(read_list(path)), "a.pkl"), (provenance.read, "b.pkl")):
        with pytest.raises(InputError, match="pipe"):
            read(tmp_path / name)


def test_a_list_cut_anywhere_is_refused(tmp_path):
    content = pickle.dumps([(np.ones((1, 2), np.float32), "spoof")], protocol=4)
    for end in range(len(content)):
        (tmp_path / "a.pkl").write_bytes(content[:end])
        with pytest.raises(InputError):
            list(read_list(tmp_path / "a.pkl"))
