"""Protocols and score files as editors, spreadsheets, crashes and slips of the hand leave them."""

import subprocess
import sys
from pathlib import Path

import pytest

from countermeasure.errors import InputError
from countermeasure.speech import audio
from countermeasure.trials.protocol import Protocol, read_protocol
from countermeasure.trials.score_files import read_asv_scores, read_cm_scores

LINES = ["LA_1 A - A07 spoof", "LA_2 B - - bonafide", "LA_3 C - A08 spoof"]
SCORED = [f"{line} {i}.5" for i, line in enumerate(LINES)]
ASV = ["A07 spoof 1.5", "- target 2.5", "- nontarget 3.5"]
READERS = {"protocol": (read_protocol, LINES), "cm": (read_cm_scores, SCORED), "asv": (read_asv_scores, ASV)}


def written(tmp_path, lines, end="\n"):
    path = tmp_path / "file.txt"
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


def comparable(read):
    """Return what a reader found, without the file's own name and checksum."""
    if isinstance(read, Protocol):
        return [trial[1:] for trial in read]
    return {name: value.tolist() for name, value in vars(read).items() if hasattr(value, "tolist")}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "harmless",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "   "),
        lambda text: text.replace("\n", "  \t\n"),
        lambda text: "\n\n" + text.replace("\n", "\n \n\t\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\n\n",
    ],
    ids=["CRLF", "BOM", "BOM and CRLF", "tabs", "wide", "blanks at ends", "blank lines", "no last end", "many ends"],
)
def test_what_is_harmless_is_accepted(tmp_path, kind, harmless, tally):
    read, lines = READERS[kind]
    expected = comparable(read(written(tmp_path, lines)))
    path = tmp_path / "other.txt"
    path.write_bytes(harmless("\n".join([*lines, ""])).encode())
    assert comparable(read(path)) == expected
    tally("bad text", "accepted")


def changed(lines, number, line):
    return [*lines[: number - 1], line, *lines[number:]]


# What is wrong, the number of its line, and words of the complaint.
WRONG = [
    ("protocol", "no label", 2, "LA_2 B - -", "no label"),
    ("protocol", "unknown label", 2, "LA_2 B - - genuine", "'bonafide' or 'spoof'"),
    ("protocol", "wrong case", 3, "LA_3 C - A08 Spoof", "'bonafide' or 'spoof'"),
    ("protocol", "no speaker", 2, "B - - bonafide", "expected"),
    ("protocol", "utterance and label alone", 2, "B bonafide", "expected"),
    ("protocol", "utterance twice", 3, "LA_3 A - A08 spoof", "line 1 already"),
    ("protocol", "long id", 3, f"LA_3 {'C' * 5000} - A08 spoof", "expected"),
    ("protocol", "long line", 2, "x " * 100_000, "expected"),
    ("cm", "no score", 2, "LA_2 B - - bonafide", "expected"),
    ("cm", "no attack", 2, "LA_2 B - bonafide 1.5", "expected"),
    ("cm", "unknown label", 3, "LA_3 C - A08 fake 1.5", "expected"),
    ("cm", "utterance twice", 3, "LA_3 A - A08 spoof 1.5", "line 1 already"),
    ("cm", "NaN", 2, "LA_2 B - - bonafide nan", "not finite"),
    ("cm", "infinite", 2, "LA_2 B - - bonafide -inf", "not finite"),
    ("cm", "too large", 2, "LA_2 B - - bonafide 1e999", "not finite"),
    ("cm", "decimal comma", 2, "LA_2 B - - bonafide 1,5", "no number"),
    ("cm", "hexadecimal", 2, "LA_2 B - - bonafide 0x10", "no number"),
    ("cm", "long field", 2, f"LA_2 {'B' * 5000} - - bonafide 1.5", "expected"),
    ("cm", "long line", 2, "x " * 100_000, "expected"),
    ("asv", "no key", 2, "- 2.5", "expected"),
    ("asv", "unknown key", 2, "- client 2.5", "expected"),
    ("asv", "label of a countermeasure", 2, "- bonafide 2.5", "--cm_score"),
    ("asv", "NaN", 3, "- nontarget NaN", "not finite"),
]


@pytest.mark.parametrize(("kind", "what", "number", "line", "complaint"), WRONG, ids=[f"{w[0]}: {w[1]}" for w in WRONG])
def test_what_is_wrong_is_named_with_its_line_and_what_was_expected(
    tmp_path, kind, what, number, line, complaint, tally
):
    read, lines = READERS[kind]
    path = written(tmp_path, changed(lines, number, line))
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{number}: ")
    assert complaint in message
    assert line[:100].strip() in message  # the text itself, so that it can be searched for
    assert len(message) < 700
    tally("bad text", "refused")


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"\0" * 4096, b"\x80\x04]", "LA_1 A - - bonafide 1\n".encode("utf-16")]
)
def test_what_is_no_text_is_refused(tmp_path, kind, content, tally):
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"file\.txt: no(t a text file| trial)"):
        READERS[kind][0](path)
    tally("bad text", "refused")


@pytest.mark.parametrize(
    "utterance", ["../x", "a/../../x", "/etc/passwd", "..", "..\\x", "C:x", "a\0b", "x" * 5000, "a/" * 2000 + "b"]
)
def test_an_id_that_leaves_the_folder_finds_nothing(tmp_path, utterance, tally):
    (tmp_path / "x.flac").write_text("not to be found")
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"leads out of|neither \.flac nor \.wav|no such file"):
        audio.find(tmp_path / "in", utterance)
    tally("bad text", "refused")


# -- a million lines -------------------------------------------------------------------------------

MILLION = 1_000_000
READ = """
import resource, sys, time
sys.path.insert(0, sys.argv[3])
from countermeasure.trials import protocol, score_files
began = time.process_time()
if sys.argv[1] == "protocol":
    n = len(protocol.read_protocol(sys.argv[2]))
else:
    n = len(score_files.read_cm_scores(sys.argv[2]).scores)
print(n, time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("kind", ["protocol", "cm"])
def test_a_million_lines(tmp_path, kind, is_long, tally):
    """A million trials take less than 600 MB, modules of 60 MB among them."""
    n = MILLION if is_long else MILLION // 10
    path = tmp_path / "long.txt"
    with open(path, "w") as f:
        for i in range(n):
            label = "A07 spoof" if i % 10 else "- bonafide"
            f.write(f"LA_{i % 100:04d} LA_E_{i:08d} - {label}{' -3.25' if kind == 'cm' else ''}\n")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", READ, kind, path, root], capture_output=True, text=True, check=True, timeout=300
    )
    found, seconds, memory = done.stdout.split()
    assert int(found) == n
    assert int(memory) * (1 if sys.platform == "darwin" else 1024) < (600e6 if is_long else 200e6)  # bytes
    tally(f"{n:,} lines of a {kind} file", f"in {float(seconds):.1f} s with {int(memory) / 1e3:.0f} MB")
