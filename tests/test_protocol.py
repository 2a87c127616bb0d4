import pytest

from countermeasure.errors import InputError
from countermeasure.protocol import parse_trial, read_protocol


def written(tmp_path, content):
    path = tmp_path / "protocol.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("line", "utterance", "label", "attack", "speaker"),
    [
        ("LA_0039 LA_E_2834763 - A11 spoof", "LA_E_2834763", "spoof", "A11", "LA_0039"),
        ("LA_0014 LA_E_5849185 - - bonafide", "LA_E_5849185", "bonafide", None, "LA_0014"),
        ("flac LA_E_2834763 A11 spoof", "LA_E_2834763", "spoof", "A11", None),
        ("flac LA_E_5849185 - bonafide", "LA_E_5849185", "bonafide", None, None),
        ("LA_E_2834763", "LA_E_2834763", None, None, None),
        ("LA_0039 LA_E_2834763 - A11 -", "LA_E_2834763", None, None, "LA_0039"),
        ("- LA_E_2834763", "LA_E_2834763", None, None, None),
        ("spoof", "spoof", None, None, None),  # a file may be called so
        ("\tLA_0039\tLA_E_1 -\t\tA07  spoof \r", "LA_E_1", "spoof", "A07", "LA_0039"),
    ],
)
def test_fields_are_found_in_lines_of_every_form(line, utterance, label, attack, speaker):
    assert parse_trial(line) == (line.strip(), utterance, label, attack, speaker)


@pytest.mark.parametrize("line", ["LA_0039 LA_E_1 - A11 Spoof", "LA_0039 LA_E_1 - A11 spoofed", "a LA_E_1 bonafide x"])
def test_only_the_exact_word_at_the_end_is_a_label(line):
    assert parse_trial(line).label is None


def test_trials_come_in_the_files_order(tmp_path):
    names = ["LA_E_9", "LA_E_1", "LA_E_5"]
    path = written(tmp_path, "".join(f"LA_0001 {name} - - bonafide\n" for name in names))
    assert [trial.utterance for trial in read_protocol(path)] == names


@pytest.mark.parametrize(
    "content",
    [
        b"LA_1 A - A07 spoof\nLA_2 B - - bonafide\n",
        b"LA_1 A - A07 spoof\nLA_2 B - - bonafide",
        b"LA_1 A - A07 spoof\r\nLA_2 B - - bonafide\r\n",
        b"\xef\xbb\xbfLA_1 A - A07 spoof\nLA_2 B - - bonafide\n",
        b"\n \nLA_1 A - A07 spoof\n\t\n\n   LA_2 B - - bonafide   \n\n",
    ],
)
def test_what_editors_make_of_a_protocol_is_the_same_protocol(tmp_path, content):
    assert read_protocol(written(tmp_path, content)) == [
        ("LA_1 A - A07 spoof", "A", "spoof", "A07", "LA_1"),
        ("LA_2 B - - bonafide", "B", "bonafide", None, "LA_2"),
    ]


def test_tabs_stay_in_the_line(tmp_path):
    (trial,) = read_protocol(written(tmp_path, "LA_1\tA\t-\tA07\tspoof\n"))
    assert trial == ("LA_1\tA\t-\tA07\tspoof", "A", "spoof", "A07", "LA_1")


@pytest.mark.parametrize("content", ["LA_1 A\nLA_1 B\n", "A\nB\n", "LA_1 A - - -\nLA_1 B - - -\n"])
def test_a_protocol_without_any_label_is_blind(tmp_path, content):
    trials = read_protocol(written(tmp_path, content))
    assert [(trial.utterance, trial.label) for trial in trials] == [("A", None), ("B", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # Numbers are those of the file's lines, blank ones among them.
        ("\nLA_1 A - - bonafide\n\nLA_1 B - A07 spoof\nLA_2 A - A08 spoof\n", ":5: utterance A stands on line 2"),
        ("LA_1 A - - bonafide\n\nLA_1 B - A07\n", ":3: no label at the end"),
        ("LA_1 A - A07\nLA_1 B - A07 spoof\n", ":1: no label at the end"),
        ("", ": no trial in it"),
        (" \n\r\n\t\n", ": no trial in it"),
        (b"\xef\xbb\xbf", ": no trial in it"),
        (b"\x80\x04\x95\x10\x00", "not a text file"),
        ("LA_1 A - - bonafide\n".encode("utf-16"), "not a text file"),
        ("LA_1 A - - bonafide\n".encode("utf-16-le"), "not a text file"),
        (b"\x00" * 512, "not a text file"),  # what a crash leaves of a file that was being written
    ],
    ids=[
        "twice",
        "unlabelled",
        "unlabelled first",
        "empty",
        "blank",
        "mark alone",
        "pickle",
        "UTF-16",
        "UTF-16-LE",
        "0",
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_protocol(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_line_itself_is_quoted(tmp_path):
    path = written(tmp_path, "LA_1 A - - bonafide\n  LA_1 B - A07  \n")
    with pytest.raises(InputError, match=r"protocol\.txt:2: .*'LA_1 B - A07'$"):
        read_protocol(path)
    path = written(tmp_path, "LA_1 A - - bonafide\nLA_7 A - A07 spoof\n")
    with pytest.raises(InputError, match=r"protocol\.txt:2: .*'LA_7 A - A07 spoof'$"):
        read_protocol(path)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.txt: no such file"):
        read_protocol(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="is a folder"):
        read_protocol(tmp_path)
