"""The plan of the house, docs/architecture.md, as far as imports show it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the top; a module imports from its own wing and from those behind it.
WINGS = ("stages", "evaluation", "gmm", "lists", "features", "trials", "speech", "plumbing")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in ("countermeasure", "tDCF_python")
    for path in ROOT.glob(f"{package}/**/*.py")
    if not path.stem.startswith("__")
}


def wing(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else "plumbing"


def imports(path, inside_functions=False):
    """Yield the project's own modules that a file imports: all of them, or those within functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for root in functions if inside_functions else [tree]:
        for node in ast.walk(root):
            if isinstance(node, ast.Import):
                found = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [f"{node.module}.{name.name}" for name in node.names]
                found = [name if name in MODULES else str(node.module) for name in found]
            else:
                continue
            yield from (name for name in found if name.split(".")[0] in ("countermeasure", "tDCF_python"))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downwards(module):
    for name in imports(MODULES[module]):
        if module.startswith("tDCF_python"):
            assert name.startswith("tDCF_python") or name in ("countermeasure.errors", "countermeasure")
        elif name.startswith("countermeasure."):
            assert WINGS.index(wing(module)) <= WINGS.index(wing(name)), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_hides_in_a_function(module):
    assert list(imports(MODULES[module], inside_functions=True)) == []


def test_no_imports_go_in_a_circle():
    wanted = {module: set(imports(path)) & set(MODULES) for module, path in MODULES.items()}
    while leaves := [module for module, others in wanted.items() if not others]:
        for module in leaves:
            del wanted[module]
        for others in wanted.values():
            others.difference_update(leaves)
    assert not wanted


def test_no_module_is_longer_than_a_reader_can_hold():
    assert {m: n for m, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 400} == {}


def test_every_room_is_in_the_plan():
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [
        module for module in MODULES if module.startswith("countermeasure") and module.split(".")[-1] not in plan
    ] == []
