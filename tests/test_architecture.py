"""The plan of the code, docs/architecture.md: its modules, their length, and what may import what."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ["plumbing", "speech", "trials", "features", "lists", "gmm", "evaluation", "stages"]  # upwards
FILES = [*sorted((ROOT / "countermeasure").rglob("*.py")), *sorted((ROOT / "tDCF_python").glob("*.py"))]


def module(path):
    """Return a file's dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def layer(name):
    """Return the layer of a module."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "plumbing"


@cache
def imports(path):
    """Return what a file imports, and whether it does so within a function."""

    def visit(node, within):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, within) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    whole = f"{child.module}.{alias.name}"
                    yield (whole if whole in MODULES else child.module), within
            deeper = within or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, deeper)

    return list(visit(ast.parse(path.read_text(encoding="utf-8")), False))


@pytest.mark.parametrize("name", MODULES)
def test_layers_import_downwards(name):
    of_ours = [found for found, _ in imports(MODULES[name]) if found in MODULES]
    if name.startswith("tDCF_python"):
        upwards = [
            found for found in of_ours if found.startswith("countermeasure") and found != "countermeasure.errors"
        ]
    else:
        here = LAYERS.index(layer(name))
        library = [found for found in of_ours if found.startswith("countermeasure.")]
        upwards = [found for found in library if LAYERS.index(layer(found)) > here]
    assert upwards == []


def test_no_files_import_each_other_in_a_circle():
    needs = {name: {found for found, _ in imports(path) if found in MODULES} - {name} for name, path in MODULES.items()}
    while free := [name for name, its in needs.items() if not its & needs.keys()]:
        for name in free:
            del needs[name]
    assert needs == {}


@pytest.mark.parametrize("name", MODULES)
def test_imports_within_functions_are_of_other_libraries(name):
    late = [found for found, within in imports(MODULES[name]) if within and found != "importlib.metadata"]  # 0.07 s
    own = ("countermeasure", "tDCF_python", *sys.stdlib_module_names)
    assert [found for found in late if found.split(".")[0] in own] == []


def test_every_module_is_in_the_plan_and_none_is_long():
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", plan.split("```")[1]))
    modules = [name.split(".")[-1] for name, path in MODULES.items() if path.stem not in ("__init__", "__main__")]
    assert [name for name in modules if name not in named | {path.stem for path in ROOT.glob("tDCF_python/*.py")}] == []
    assert [path.name for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []
