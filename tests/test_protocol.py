import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from countermeasure.errors import InputError
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import read_protocol


def written(tmp_path, content):
    path = tmp_path / "protocol.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("line", "utterance", "label", "attack", "speaker"),
    [
        ("LA_0014 LA_E_5849185 - - bonafide", "LA_E_5849185", "bonafide", None, "LA_0014"),
        ("flac LA_E_2834763 A11 spoof", "LA_E_2834763", "spoof", "A11", None),
        ("LA_E_2834763", "LA_E_2834763", None, None, None),
        ("LA_0039 LA_E_2834763 - A11 -", "LA_E_2834763", None, None, "LA_0039"),
        ("- LA_E_2834763", "LA_E_2834763", None, None, None),
        ("spoof", "spoof", None, None, None),  # a file may be called so
        ("\tLA_0039\tLA_E_1 -\t\tA07  spoof \r", "LA_E_1", "spoof", "A07", "LA_0039"),
        ("LA_0039\u00a0LA_E_1\u2003- A07\u3000spoof", "LA_E_1", "spoof", "A07", "LA_0039"),
    ],
)
def test_fields_are_found_in_lines_of_every_form(tmp_path, line, utterance, label, attack, speaker):
    assert read_protocol(written(tmp_path, line)) == [Trial(line.strip(), utterance, label, attack, speaker)]


@pytest.mark.parametrize(
    "content",
    [
        b"LA_1 A - A07 spoof\nLA_2 B - - bonafide\n",
        b"LA_1 A - A07 spoof\r\nLA_2 B - - bonafide",
        b"LA_1 A - A07 spoof\rLA_2 B - - bonafide\r",
        b"\xef\xbb\xbf\n \nLA_1 A - A07 spoof\n\t\n\n   LA_2 B - - bonafide   \n\n",
    ],
)
def test_what_editors_make_of_a_protocol_is_the_same_protocol(tmp_path, content):
    assert list(read_protocol(written(tmp_path, content))) == [
        Trial("LA_1 A - A07 spoof", "A", "spoof", "A07", "LA_1"),
        Trial("LA_2 B - - bonafide", "B", "bonafide", None, "LA_2"),
    ]


@pytest.mark.parametrize("content", ["LA_1 A\nLA_1 B\n", "A\nB\n", "LA_1 A - - -\nLA_1 B - - -\n"])
def test_a_protocol_without_any_label_is_blind(tmp_path, content):
    for protocol_format in (None, "asvspoof2019", *["asvspoof5"] * ("- -" not in content)):
        trials = read_protocol(written(tmp_path, content), protocol_format)
        assert trials.is_blind
        assert [(trial.utterance, trial.label) for trial in trials] == [("A", None), ("B", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # Numbers are those of the file's lines, blank ones among them.
        ("\nLA_1 A - - bonafide\n\nLA_1 B - A07 spoof\nLA_2 A - A08 spoof\n", ":5: utterance A stands on line 2"),
        ("s u - - bonafide\ns - - - bonafide\n", ":2: no utterance id in it"),
        ("LA_1 A - - bonafide\n\n  LA_1 B - A07  \n", ":3: 4 fields, where line 1 has 5; .*: 'LA_1 B - A07'$"),
        ("LA_1 A - - bonafide\nLA_1 B - A07 Spoof\n", ":2: no label at the end"),
        ("LA_1 A - - x\nLA_1 B - A07 spoof\n", ":1: no label at the end [^;]*; expected lines [^;]*$"),
        ("u1 spoof\nu2 bonafide\n", ":1: 'spoof' in field 2 of 2, which is no known form"),
        ("s u1 spoof x\ns u2 bonafide x\n", ":1: 'spoof' in field 3 of 4, which is no known form"),
        (" \n\r\n\t\n", ": no trial in it"),
        (b"\xef\xbb\xbf", ": no trial in it"),
        (b"\x80\x04\x95\x10\x00", "not a text file"),
        ("LA_1 A - - bonafide\n".encode("utf-16-le"), "not a text file"),
        ("größe - - bonafide".encode("cp1252"), r"byte 2 is not UTF-8\); if it is text, save it as UTF-8$"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_protocol(written(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path / "protocol.txt"))
    assert "\n" not in str(caught.value)


def test_what_is_no_file_or_no_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.txt: no such file"):
        read_protocol(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="is a folder"):
        read_protocol(tmp_path)
    with pytest.raises(InputError, match="no protocol format 'tsv'; give one of asvspoof2019"):
        read_protocol(written(tmp_path, "a\n"), "tsv")


@pytest.mark.parametrize(
    ("line", "scored"),
    [
        ("S1 U1 bonafide", "S1 U1 - - bonafide"),
        ("- U1 spoof", "- U1 - - spoof"),
        ("LA_1 U1 A07 spoof", "LA_1 U1 A07 spoof"),
        ("LA_1  U1 -\tA07 spoof", "LA_1  U1 -\tA07 spoof"),
    ],
)
def test_trials_of_three_fields_have_five_in_a_score_file(tmp_path, line, scored):
    (trial,) = read_protocol(written(tmp_path, f"{line}\n"))
    assert trial.line == scored


# -- other corpora -----------------------------------------------------------------------------------

# First lines of the files, as the corpora's own documents quote them, and bona fide ones.
CORPORA = {
    "2019 LA": (
        "LA_0039 LA_E_2834763 - A11 spoof\nLA_0014 LA_E_5849185 - - bonafide\n",
        [("LA_E_2834763", "spoof", "A11", "LA_0039"), ("LA_E_5849185", "bonafide", None, "LA_0014")],
        "asvspoof2019",
    ),
    "2019 PA": (
        "PA_0079 PA_T_0000001 aaa - bonafide\nPA_0079 PA_T_0005401 aaa AA spoof\n",
        [("PA_T_0000001", "bonafide", None, "PA_0079"), ("PA_T_0005401", "spoof", "AA", "PA_0079")],
        "asvspoof2019",
    ),
    "2021 LA": (
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0020 LA_E_1665632 none loc_tx bonafide bonafide notrim progress\n",
        [("LA_E_9332881", "spoof", "A07", "LA_0009"), ("LA_E_1665632", "bonafide", None, "LA_0020")],
        "asvspoof2021",
    ),
    "2021 DF": (
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "TEF2 DF_E_2000013 low_m4a vcc2020 - bonafide notrim eval bonafide Task1 - - E\n",
        [("DF_E_2000011", "spoof", "A14", "LA_0023"), ("DF_E_2000013", "bonafide", None, "TEF2")],
        "asvspoof2021",
    ),
    "2021 PA": (
        "PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval\n"
        "PA_0011 PA_E_1000002 R3 M3 D4 - - - - bonafide notrim progress\n",
        [("PA_E_1000001", "spoof", None, "PA_0010"), ("PA_E_1000002", "bonafide", None, "PA_0011")],
        "asvspoof2021",
    ),
    "5": (
        "T_4850\tT_0000000000\tF\t-\t-\t-\tAC3\tA05\tspoof\t-\nT_3734 T_0000000011 F - - - - bonafide bonafide -\n",
        [("T_0000000000", "spoof", "A05", "T_4850"), ("T_0000000011", "bonafide", None, "T_3734")],
        "asvspoof5",
    ),
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_corpora_are_recognised(tmp_path, corpus):
    content, expected, protocol_format = CORPORA[corpus]
    for given in (None, protocol_format):
        trials = read_protocol(written(tmp_path, content), given)
        assert [trial[1:5] for trial in trials] == expected
        assert [trial.line for trial in trials] == content.splitlines()


@pytest.mark.parametrize("corpus", CORPORA)
def test_one_line_of_another_corpus_is_named(tmp_path, corpus):
    content, _, protocol_format = CORPORA[corpus]
    for lines, _, other_format in CORPORA.values():
        if protocol_format != other_format:
            with pytest.raises(InputError, match=r"protocol\.txt:3: .*, (where line 1 has|though other lines)"):
                read_protocol(written(tmp_path, content + lines))
            with pytest.raises(InputError, match=r"protocol\.txt:1: "):
                read_protocol(written(tmp_path, content), "asvspoof5" if protocol_format != "asvspoof5" else "csv")


def test_a_label_that_is_missing_in_the_middle_of_a_line_is_named(tmp_path):
    content = CORPORA["2021 LA"][0] + "LA_0009 LA_E_9332882 alaw ita_tx A07 fake notrim eval\n"
    with pytest.raises(InputError, match=r":3: no label in field 6 \('bonafide' or 'spoof'\).*'LA_0009 LA_E_9332882 a"):
        read_protocol(written(tmp_path, content))


def test_what_could_be_two_formats_is_for_the_caller_to_say(tmp_path):
    path = written(tmp_path, "s u1 a b A07 spoof x spoof\ns u2 a b - bonafide x bonafide\n")
    with pytest.raises(InputError, match=r":1: every line may be of asvspoof2019 or asvspoof2021; say which"):
        read_protocol(path)
    assert read_protocol(path, "asvspoof2019")[0].attack == "x"
    assert read_protocol(path, "asvspoof2021")[0].attack == "A07"


@pytest.mark.parametrize(
    ("protocol_format", "example"),
    [
        ("asvspoof2019", "LA_0039 LA_E_2834763 - A11 spoof"),
        ("asvspoof2021", "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval"),
        ("asvspoof5", "T_4850 T_0000000000 F - - - AC3 A05 spoof -"),
    ],
)
def test_lines_are_expected_as_the_format_asked_for_has_them(tmp_path, protocol_format, example):
    for content in ("", "a b spoof x\n", "s u a b\ns u\n", *["s u -\n"] * (protocol_format != "asvspoof2019")):
        with pytest.raises(InputError, match=f"expected lines like '{re.escape(example)}'"):
            read_protocol(written(tmp_path, content), protocol_format)
    assert [trial.label for trial in read_protocol(written(tmp_path, example), protocol_format)] == ["spoof"]


@pytest.mark.parametrize("corpus", ["2021 LA", "2021 DF", "2021 PA"])
def test_subsets_are_chosen_or_noted(tmp_path, corpus):
    content, expected, _ = CORPORA[corpus]
    path = written(tmp_path, content)
    trials = read_protocol(path)
    assert len(trials) == 2
    assert "subsets eval (1), progress (1), all taken; --protocol_subset NAME" in trials.note
    progress = read_protocol(path, protocol_subset=["progress"])
    assert [trial.utterance for trial in progress] == [expected[corpus != "2021 DF"][0]]
    assert {trial.subset for trial in progress} == {"progress"}
    assert progress.note is None
    assert len(read_protocol(path, protocol_subset=["eval", "progress"])) == 2
    with pytest.raises(InputError, match=r"no subset 'test'; it has eval \(1\), progress \(1\)"):
        read_protocol(path, protocol_subset=["test"])


def test_where_there_are_no_subsets(tmp_path):
    trials = read_protocol(written(tmp_path, CORPORA["2021 LA"][0].replace(" eval", " -")))
    assert [trial.subset for trial in trials] == [None, "progress"]
    assert trials.note is None
    with pytest.raises(InputError, match="no subset 'eval'; it has no subsets: leave --protocol_subset out"):
        read_protocol(written(tmp_path, CORPORA["5"][0]), protocol_subset=["eval"])


# -- CSV ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "file,label,speaker,attack\na.wav,bonafide,Ann,\nsub/b.mp3,spoof,Bob,tts\n",
        '"file","Label ",speaker,attack\r\na.wav, bonafide,Ann,-\r\nsub/b.mp3,spoof,Bob,tts\r\n',
        "attack;speaker;note;label;file\n;Ann;x;bona-fide;a.wav\ntts;Bob;;spoof;sub/b.mp3\n",
        'file\tlabel\tspeaker\tattack\n"a.wav"\tbonafide\tAnn\tnone of it\nsub/b.mp3\tspoof\tBob\ttts\n',
        "\ufefffile,label,speaker,attack\n\na.wav,bonafide,Ann,\n\nsub/b.mp3,spoof,Bob,tts",
    ],
    ids=["plain", "spreadsheet", "semicolons", "tabs", "blank lines"],
)
def test_csv_files_of_every_make(tmp_path, content):
    assert list(read_protocol(written(tmp_path, content))) == [
        Trial("Ann a.wav - - bonafide", "a.wav", "bonafide", None, "Ann", "a.wav"),
        Trial("Bob sub/b.mp3 - tts spoof", "sub/b.mp3", "spoof", "tts", "Bob", "sub/b.mp3"),
    ]


def test_blanks_in_file_names_are_written_as_in_addresses(tmp_path):
    path = written(tmp_path, 'file,label,speaker\n"my, 100% own.wav",spoof,Alec Guinness\n')
    (trial,) = read_protocol(path)
    assert trial.line == "Alec%20Guinness my,%20100%25%20own.wav - - spoof"
    assert (trial.utterance, trial.file) == ("my,%20100%25%20own.wav", "my, 100% own.wav")


@pytest.mark.parametrize(
    "content", ["file\na.wav\nb.wav\n", "file,label\na.wav,\nb.wav,\n", "file,x\na.wav,1\nb.wav,2\n"]
)
def test_a_csv_without_labels_is_blind(tmp_path, content):
    assert [trial[:3] for trial in read_protocol(written(tmp_path, content))] == [
        ("- a.wav - - -", "a.wav", None),
        ("- b.wav - - -", "b.wav", None),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\na.wav,fake\n", ":2: label 'fake'; expected 'bonafide' or 'spoof': 'a.wav,fake'"),
        ("file,label\na.wav,spoof\nb.wav\n", ":3: 1 fields, where the header names 2: 'b.wav'"),
        ("file,label\n,spoof\n", ":2: no file: ',spoof'"),
        ("file,label\na.wav,spoof\nb.wav,\n", ":3: no label in the column label .*: 'b.wav,'$"),
        (
            "file,label,speaker\na b.wav,spoof,Ann Lee\n\n a b.wav,spoof,Ann Lee\n",
            ":4: utterance a%20b.wav stands on line 2 already; .*: 'a b.wav,spoof,Ann Lee'$",
        ),
        (
            "file;lable;speaker;attack\na.wav;spoof;s;x\n",
            ":1: unknown column 'lable'; did you mean 'label'\\?: 'file;lable;speaker;attack'",
        ),
        ("file,Labels\na.wav,spoof\n", ":1: unknown column 'labels'; did you mean 'label'"),
        ("flie,label\na.wav,spoof\n", ":1: unknown column 'flie'; did you mean 'file'"),
        ('file,label\n"a.wav,spoof\n', ":2: unexpected end of data: '\"a.wav,spoof'"),
        ("file,file\na.wav,b\n", ":1: two columns file"),
        ("path,label\na.wav,spoof\n", ":1: no column file; the header of a CSV names it"),
        ("path;class\na.wav;spoof\nb.wav;bonafide\n", ":1: no column file"),
        ("name, class\na b.wav, spoof\n", ":1: no column file"),
        ("file,label\n", ": no trial in it; expected a header like 'file,label' and lines like"),
    ],
)
def test_mistakes_in_a_csv_are_named_with_their_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_protocol(written(tmp_path, content))


def test_a_csv_needs_its_header_when_it_is_said_to_be_one(tmp_path):
    with pytest.raises(InputError, match=":1: no column file"):
        read_protocol(written(tmp_path, "a b - - spoof\n"), "csv")


def test_other_columns_of_a_csv_are_left_alone(tmp_path):
    # One that looks like a known one is only a mistake where that one is missing.
    columns = ["file", "label", "labels", "speaker_id", "text", "attacked", "duration"]
    path = written(tmp_path, f"{','.join(columns)}\na.wav,spoof,x,s,{'words ' * 5000},no,3\n")
    assert [trial[:5] for trial in read_protocol(path)] == [("- a.wav - - spoof", "a.wav", "spoof", None, None)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_csv_out_of_a_pipe_is_not_read_twice(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(path.write_text, "file,label\na.wav,spoof\na.wav,spoof\n")
        with pytest.raises(InputError, match=r":3: utterance a\.wav stands on line 2 already"):
            read_protocol(path)
        done.result(timeout=30)


# -- further columns, by the organisers' descriptions of their files -----------------------------------


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("PA_0079 PA_T_0005401 aaa AA spoof", {"environment": "aaa"}),
        (
            "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval",
            {"codec": "alaw", "transmission": "ita_tx", "trim": "notrim", "subset": "eval"},
        ),
        (
            "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder_nonautoregressive Task1 "
            "team20 FF E",
            {
                "codec": "low_m4a",
                "source": "vcc2020",
                "vocoder": "neural_vocoder_nonautoregressive",
                "task": "Task1",
                "team": "team20",
                "gender": "FF",
                "language": "E",
            },
        ),
        (
            "PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval",
            {"asv_room": "R3", "asv_mic": "M3", "asv_distance": "d4", "attacker_room": "r1", "attacker_mic": "m1",
             "attacker_device": "s4", "attacker_distance": "c4"},
        ),
        (
            "T_4850 T_0000000000 F C05 4 1 AC3 A05 spoof -",
            {"gender": "F", "codec": "C05", "codec_q": "4", "codec_seed": "1", "attack_tag": "AC3", "tmp": "-"},
        ),
        ("file,label,Room,codec\nx.wav,spoof,big hall,", {"room": "big%20hall", "codec": "-"}),
    ],
)  # fmt: skip
def test_a_trial_has_the_columns_that_are_asked_for(tmp_path, line, columns):
    path = written(tmp_path, line)
    (trial,) = read_protocol(path, others=list(columns))
    assert trial.others == tuple(columns.values())
    assert read_protocol(path)[0] == trial._replace(others=())
    with pytest.raises(InputError, match=f"its trials have no colour, only .*{next(iter(columns))}"):
        read_protocol(path, others=["colour"])
