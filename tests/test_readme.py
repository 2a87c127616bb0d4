"""The README and docs/: their commands are ones that the scripts take, and what they point at is there."""

import ast
import importlib.util
import pickle
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest

import gmm_run
from countermeasure.features import types
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model
from countermeasure.lists.pickles import ListWriter
from countermeasure.stages.pipeline import OPTIONS
from trainings import write_model

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted(ROOT.glob("docs/*.md"))
OTHERS = [ROOT / name / "README.md" for name in ("benchmarks", "examples/own_data", "tDCF_python/scores")]
GUIDES = {path: path.read_text(encoding="utf-8") for path in [README, ROOT / "SECURITY.md", *PAGES, *OTHERS]}
SCRIPTS = sorted(path.name for pattern in ("*.py", "*.sh") for path in ROOT.glob(pattern))


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def unrolled(lines):
    """Yield the lines that a shell runs, with loops unrolled."""
    lines = iter(lines)
    for line in lines:
        loop = re.fullmatch(r"\s*for (\w+) in ([\w ]+); do", line)
        if not loop:
            yield line
            continue
        body, depth = [], 1
        for inner in lines:
            depth += inner.strip().startswith("for ") - (inner.strip() == "done")
            if not depth:
                break
            body.append(inner)
        for value in loop[2].split():
            yield from unrolled([inner.replace(f"${loop[1]}", value) for inner in body])


def page(name):
    return GUIDES[ROOT / "docs" / name]


def commands():
    text = "".join(blocks("bash", "".join(GUIDES.values()))).replace("\\\n", " ")
    return [shlex.split(line) for line in unrolled(text.splitlines()) if line.strip()]


def python_commands():
    """Yield script and arguments of the commands that run a script, by python or as installed."""
    for first, *rest in commands():
        if first in ("python", "python3") and rest[0] != "-m":
            yield rest
        elif f"{first}.py" in SCRIPTS:
            yield [f"{first}.py", *rest]


PYTHON_COMMANDS = list(python_commands())


@pytest.mark.parametrize("words", PYTHON_COMMANDS, ids=" ".join)
def test_commands_parse_with_the_scripts_own_parsers(words):
    script = ROOT / words[0]
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not [word for word in words if "$" in word]
    module.build_parser().parse_args(words[1:])


def test_every_script_has_a_command():
    named = {words[0] for words in PYTHON_COMMANDS}
    others = {"silence_measure.py"}  # a look at one's files
    assert named == {name for name in SCRIPTS if name.endswith(".py")} - others


def test_shell_commands_are_there_and_take_known_types():
    wrapped = [words for words in commands() if words[0].startswith("./")]
    assert len(wrapped) >= 5
    for words in wrapped:
        assert (ROOT / words[0]).is_file()
        for ftype in words[1:]:
            types.window(ftype)


def test_tables_name_all_scripts_types_and_variables():
    rows = set(re.findall(r"^\| `([\w.]+)` \|", page("scripts.md"), re.MULTILINE))
    variables = {"PYTHON", *OPTIONS.values(), *re.findall(r"^  ([A-Z]+)\b(?!_)", gmm_run.__doc__, re.MULTILINE)}
    assert rows >= {*SCRIPTS}
    assert {row for row in rows if row.isupper()} == variables
    rows = re.findall(r"^\| `(\w+)` \|", page("features.md"), re.MULTILINE)
    assert [name for name in rows if types.is_name(name)] == [*types.METHODS]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_page_is_short_and_listed_in_the_readme(path):
    assert len(GUIDES[path].splitlines()) < 200
    assert f"](docs/{path.name})" in GUIDES[README]


def texts(path):
    """Yield the strings of a Python file, … in place of values."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_messages_of_troubleshooting_are_the_suites_own():
    libsndfile = {"unknown error in flac decoder", "flac decoder lost sync", "psf_fseek() failed"}
    sources = [path for pattern in ("*.py", "countermeasure/**/*.py") for path in ROOT.glob(pattern)]
    known = [text for path in sources for text in texts(path)]
    known += [path.read_text(encoding="utf-8") for path in ROOT.glob("scripts/*.sh")]
    rows = re.findall(r"^\| (`.*?) \|", page("troubleshooting.md"), re.MULTILINE)
    messages = {message for row in rows for message in re.findall("`(.*?)`", row)}
    assert len(messages) > 25
    for message in messages - libsndfile - {"No module named 'numpy'"}:
        parts = [part.strip() for part in message.split("…")]
        assert any(all(part in text for part in parts) for text in known), message


def anchors(text):
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_it_links_to_is_there(guide):
    for target in re.findall(r"(?:\]\(|src=\")((?!http)[^)\s\"]+)", GUIDES[guide]):
        name, _, anchor = target.partition("#")
        path = guide.parent / name if name else guide
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target


def test_the_example_opens_lists_and_models(tmp_path, monkeypatch, capsys, rng):
    (example,) = blocks("python", page("files.md"))
    assert "countermeasure" not in example
    monkeypatch.chdir(tmp_path)
    frames = rng.normal(size=(5, 60)).astype(np.float32)
    with ListWriter("eval-mfcc.pkl") as out:
        out.append(frames, "spoof")
    for name, mean in (("bon", 0.0), ("sp", 1.0)):
        model = Parameters(np.ones(1), np.full((1, 60), mean), np.ones((1, 60)))
        write_model(Path(f"{name}.gmm"), Model(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the example leaves closing files to Python
        exec(compile(example, "files.md", "exec"), {"pickle": pickle})
    label, llr = capsys.readouterr().out.split()
    assert label == "spoof"
    # log N(x; 0, 1) − log N(x; 1, 1) = Σ (1/2 − x)
    assert float(llr) == pytest.approx((0.5 - frames.astype(float)).sum(axis=1).mean(), abs=1e-4)
