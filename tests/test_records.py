import dataclasses
from typing import Any, Literal

import pytest

from countermeasure import records


@dataclasses.dataclass(frozen=True)
class Inner:
    type: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    split: Literal["train", "dev"]
    rate: int
    share: float
    speakers: list[str | None]
    inner: Inner | None = None
    inners: list[Inner | None] = dataclasses.field(default_factory=list)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    options: dict[str, int | float | str] = dataclasses.field(default_factory=dict)


INNER = Inner("x", {"k": [1, {"l": None}]})
OPTIONS = {"n": 1, "tol": 0.5, "em": "batch"}
GOOD = Outer("ß", "train", 16000, 0.5, ["a", None], INNER, [None, Inner("y")], {"v": "1"}, OPTIONS)


def test_what_is_written_is_read(tmp_path):
    records.write(tmp_path / "a.json", GOOD)
    assert records.checked(Outer, records.read(tmp_path / "a.json")) == GOOD
    assert len((tmp_path / "a.json").read_text().splitlines()) == 2 + len(dataclasses.fields(Outer))


def test_entries_with_a_default_may_be_missing_and_a_whole_number_is_a_number():
    values = {"name": "a", "split": "dev", "rate": 1, "share": 1, "speakers": []}
    assert records.checked(Outer, values) == Outer("a", "dev", 1, 1, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name is not text"),
        ({"name": "\ud800"}, ".*surrogates not allowed"),
        ({"split": "eval"}, "split is none of 'train', 'dev'"),
        ({"rate": True}, "rate is not a whole number"),
        ({"rate": 1.0}, "rate is not a whole number"),
        ({"rate": 2**63}, "9223372036854775808 is too large a number"),
        ({"rate": -(10**400)}, ".* is too large a number"),
        ({"share": float("inf")}, ".* not JSON compliant"),
        ({"share": "1"}, "share is not a number"),
        ({"speakers": ["a", 1]}, r"speakers\[1\] is not text"),
        ({"speakers": "a"}, "speakers is not a list"),
        ({"inner": {"type": ["x"]}}, "inner.type is not text"),
        ({"inner": {"type": "x", "more": 1}}, "inner has the unknown entry 'more'"),
        ({"inner": {}}, "inner.type is missing"),
        ({"inner": "x"}, "inner is not a group"),
        ({"inner": {"type": "x", "settings": {"a": {1}}}}, ".* not JSON serializable"),
        ({"inners": [None, {"type": 1}]}, r"inners\[1\].type is not text"),
        ({"versions": "1.0"}, "versions is not a group"),
        ({"versions": {"v": 1}}, "versions.'v' is not text"),
        ({"\x1b[2J": 1}, r"it has the unknown entry '\\x1b\[2J'"),
    ],
    ids=ascii,
)
def test_values_of_another_type_are_named(change, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        records.checked(Outer, vars(GOOD) | {"inner": None, "inners": []} | change)
    assert str(caught.value).isprintable()


def test_what_is_nested_too_deep_is_refused():
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="recursion"):
        records.checked(Inner, {"type": "x", "settings": deep})


def test_numbers_of_64_bits_are_read():
    values = vars(GOOD) | {"inner": None, "inners": [], "rate": -(2**63) + 1}
    assert records.checked(Outer, values).rate == values["rate"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        records.read(tmp_path / "a.json")
