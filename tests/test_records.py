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


GOOD = Outer("ß", "train", 16000, 0.5, ["a", None], Inner("x", {"k": [1, {"l": None}]}), [None, Inner("y")], {"v": "1"})


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
        ({"name": "\ud800"}, "name holds text that is no Unicode"),
        ({"split": "eval"}, "split is none of 'train', 'dev'"),
        ({"split": ["train"]}, "split is none of"),
        ({"rate": True}, "rate is not a whole number"),
        ({"rate": 1.0}, "rate is not a whole number"),
        ({"rate": 10**400}, "rate is too large a number"),
        ({"share": float("inf")}, "share is not finite"),
        ({"share": "1"}, "share is not a number"),
        ({"speakers": ["a", 1]}, r"speakers\[…\] is not text"),
        ({"speakers": "a"}, "speakers is not a list"),
        ({"speakers": ["\udce9"]}, r"speakers\[…\] holds text that is no Unicode"),
        ({"inner": {"type": None}}, "inner.type is not text"),
        ({"inner": {"type": ["x"]}}, "inner.type is not text"),
        ({"inner": {"type": "x", "more": 1}}, "inner.more is unknown"),
        ({"inner": {}}, "inner.type is missing"),
        ({"inner": "x"}, "inner is not a group"),
        ({"inner": {"type": "x", "settings": {"a": [{"b": 10**30}]}}}, r"inner.settings.a\[0\].b is too large"),
        ({"inner": {"type": "x", "settings": {"a": (1,)}}}, "inner.settings.a is not a value of JSON"),
        ({"inners": [{"type": 1}]}, r"inners\[0\].type is not text"),
        ({"versions": "1.0"}, "versions is not a group"),
        ({"versions": {"v": 1}}, "versions.v is not text"),
        ({"versions": {"\ud800": "1"}}, "versions holds text"),
        ({"more": 1}, "more is unknown"),
    ],
    ids=str,
)
def test_values_of_another_type_are_named(change, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        records.checked(Outer, {**dataclasses.asdict(GOOD), **change})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN", b"9" * 5000, b'{"a": Infinity}'])
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        records.read(tmp_path / "a.json")
