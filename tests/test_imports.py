"""The plan of the house: wings import only downwards, nothing in a circle, and nothing late but heavy libraries."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WINGS = ["plumbing", "speech", "trials", "features", "lists", "gmm", "evaluation", "stages"]  # upwards
FILES = [*sorted((ROOT / "countermeasure").rglob("*.py")), *sorted((ROOT / "tDCF_python").glob("*.py"))]


def module(path):
    """Return a file's dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def wing(name):
    """Return the wing of one of the library's modules."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in WINGS else "plumbing"


def imports(path):
    """Yield what a file imports, and whether it does so within a function."""

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

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False)


@pytest.mark.parametrize("name", MODULES)
def test_wings_import_downwards(name):
    of_ours = [found for found, _ in imports(MODULES[name]) if found in MODULES]
    if name.startswith("tDCF_python"):
        upwards = [
            found for found in of_ours if found.startswith("countermeasure") and found != "countermeasure.errors"
        ]
    else:
        here = WINGS.index(wing(name))
        library = [found for found in of_ours if found.startswith("countermeasure.")]
        upwards = [found for found in library if WINGS.index(wing(found)) > here]
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
