"""The plan of the code, docs/architecture.md; what may import what is in tests/test_imports.py."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = [path for path in ROOT.glob("countermeasure/**/*.py") if not path.stem.startswith("__")]


def test_every_module_is_in_the_plan():
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", plan.split("```")[1]))
    assert [path.stem for path in MODULES if path.stem not in named] == []


def test_no_module_is_longer_than_a_reader_can_hold():
    assert {path.name: n for path in MODULES if (n := len(path.read_text().splitlines())) > 400} == {}
