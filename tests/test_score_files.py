import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from countermeasure.errors import InputError
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_asv_scores, read_cm_scores, write_scores

SIX = "LA_0001 LA_E_1 - - bonafide 1.5\nLA_0002 LA_E_2 - A07 spoof -2.5\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="scores.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def columns(scores):
    found = scores.columns
    return [*zip(found.utterances, scores.scores, scores.bonafide, found.attacks, found.speakers, strict=True)]


@pytest.mark.parametrize(
    ("content", "speakers"),
    [
        (SIX, ("LA_0001", "LA_0002")),
        ("flac LA_E_1 - bonafide 1.5\nflac LA_E_2 A07 spoof -2.5\n", (None, None)),
        ("LA_0001 LA_E_1 - bonafide 1.5\nLA_0002 LA_E_2 A07 spoof -2.5\n", ("LA_0001", "LA_0002")),
        ("LA_E_1 - bonafide 1.5\nLA_E_2 A07 spoof -2.5\n", (None, None)),
        ("LA_0001 LA_E_1 x y - bonafide 1.5\nLA_0002 LA_E_2 x y A07 spoof -25e-1", ("LA_0001", "LA_0002")),
    ],
)
def test_forms_of_cm_scores(file, content, speakers):
    expected = [("LA_E_1", 1.5, True, None, speakers[0]), ("LA_E_2", -2.5, False, "A07", speakers[1])]
    assert columns(read_cm_scores(file(content))) == expected


def test_a_label_alone_before_the_score(file):
    expected = [("LA_E_1", 1.5, True, None, None), ("LA_E_2", -2.5, False, None, None)]
    assert columns(read_cm_scores(file("LA_E_1 bonafide 1.5\nLA_E_2 spoof -2.5\n"))) == expected


def test_two_fields_take_labels_from_the_protocol(file):
    protocol = file("LA_0001 LA_E_1 - - bonafide\nLA_0002 LA_E_2 - A07 spoof\nLA_0003 LA_E_3 - - bonafide\n", "p.txt")
    trials = {trial.utterance: trial for trial in read_protocol(protocol)}
    scores = read_cm_scores(file("LA_E_2 -2.5\nLA_E_1 1.5\n"), trials)
    assert columns(scores) == [("LA_E_2", -2.5, False, "A07", "LA_0002"), ("LA_E_1", 1.5, True, None, "LA_0001")]
    assert scores.unscored == 1
    with pytest.raises(InputError, match=r"scores.txt:1: .*LA_E_9.*not in the protocol.*'LA_E_9 1'"):
        read_cm_scores(file("LA_E_9 1\n"), trials)


def test_names_beyond_ascii(file):
    scores = read_cm_scores(file("größe - bonafide 1\nщ A1 spoof 0\n"))
    assert scores.columns.utterances == ["größe", "щ"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no trial in it; expected"),
        ("\n\n", "no trial in it; expected"),
        (b"\xff\xfe\x00", "not a text file"),
        ("LA_E_1\n", ":1: one field only"),
        (SIX + "LA_0003 LA_E_3 - bonafide 1\n", ":3: 5 fields, where line 1 has 6.*'LA_0003 LA_E_3 - bonafide 1'"),
        (SIX + "\nLA_0003 LA_E_3 - - bonafide nan\n", ":4: score 'nan' is not finite.*LA_0003"),
        (SIX + "LA_0003 LA_E_3 - - bonafide -inf\n", ":3: score '-inf' is not finite"),
        (SIX + "LA_0003 LA_E_3 - - bonafide 0,5\n", ":3: score '0,5' is no number"),
        (SIX + "LA_0003 LA_E_1 - - bonafide 0.5\n", ":3: utterance LA_E_1 stands on line 1 already"),
        (
            SIX + "LA_0003 LA_E_3 - - genuine 0.5\n",
            ":3: no label before the score .*genuine",
        ),
        ("LA_E_1 1\nLA_E_2 2\n", ":1: no label .* --protocol"),
        (
            "bonafide target 1\nbonafide target 2\n",
            ":1: 'target' is a key of ASV score files",
        ),
    ],
)
def test_mistakes_in_cm_scores(file, content, message):
    with pytest.raises(InputError, match=message):
        read_cm_scores(file(content))


def test_forms_of_asv_scores(file):
    three = read_asv_scores(file("bonafide target 2\nbonafide nontarget -1\nA07 spoof 0.5\n"))
    six = read_asv_scores(file("s u1 - bonafide target 2\ns u2 - bonafide nontarget -1\ns u3 - A07 spoof 0.5\n"))
    first = read_asv_scores(file("bonafide u1 - - target 2\nbonafide u2 - - nontarget -1\nA07 u3 - - spoof 0.5\n"))
    for scores in (three, six, first):
        assert scores.keys == ["target", "nontarget", "spoof"]
        assert scores.scores.tolist() == [2, -1, 0.5]
        assert scores.attacks[2] == "A07"
        assert Path(scores.path).name == "scores.txt"
    assert first.sha256 == hashlib.sha256(Path(first.path).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a target 1\nb nontarget 2\n", "no spoof trial; t-DCF needs"),
        ("a target 1\nb other 2\n", ":2: key 'other'; expected 'target', 'nontarget' or 'spoof': 'b other 2'"),
        (SIX, "key 'bonafide'.*--cm_score takes"),
        ("a target\n", ":1: 2 fields in a line; expected lines like 'A07 spoof"),
        ("a target 1\nb nontarget 2\nA07 spoof inf\n", ":3: score 'inf' is not finite"),
    ],
)
def test_mistakes_in_asv_scores(file, content, message):
    with pytest.raises(InputError, match=message):
        read_asv_scores(file(content))


def test_written_scores_are_read_back(tmp_path):
    lines = [f"LA_{k:04d} LA_E_{k} - {'- bonafide' if k % 3 else 'A07 spoof'}" for k in range(50)]
    values = np.random.default_rng(0).normal(0, 10, 50)
    path = tmp_path / "deep" / "scores.txt"
    digest = write_scores(path, lines, values)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_text().splitlines()[1] == f"{lines[1]} {values[1]:.6f}"
    back = read_cm_scores(path)
    np.testing.assert_allclose(back.scores, values, atol=5.1e-7)
    assert back.columns.utterances == [f"LA_E_{k}" for k in range(50)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_score_is_made_up(tmp_path, bad):
    path = tmp_path / "scores.txt"
    with pytest.raises(InputError, match=re.escape("score of LA_E_2")):
        write_scores(path, ["a LA_E_1 - - bonafide", "a LA_E_2 - - bonafide"], [1.0, bad])
    assert not list(tmp_path.iterdir())


# -- other corpora and blind sets ----------------------------------------------------------------------

KEYS = {
    "2019 PA": "PA_0079 PA_T_0000001 aaa - bonafide\nPA_0079 PA_T_0005401 aaa AA spoof\n",
    "2021 LA": "LA_0020 LA_E_1665632 none loc_tx bonafide bonafide notrim progress\n"
    "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n",
    "2021 DF": "TEF2 DF_E_2000013 low_m4a vcc2020 - bonafide notrim eval bonafide Task1 - - E\n"
    "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n",
    "2021 PA": "PA_0011 PA_E_1000002 R3 M3 D4 - - - - bonafide notrim progress\n"
    "PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval\n",
    "5": "T_1\tT_2\tF\t-\t-\t-\t-\tbonafide\tbonafide\t-\nT_4\tT_5\tF\t-\t-\t-\tAC3\tA05\tspoof\t-\n",
    "CSV": "file,label,speaker,attack\na b.wav,bonafide,Alec Guinness,\nc/d.mp3,spoof,,tts\n",
    "three fields": "S1 U1 bonafide\nS2 U2 spoof\n",
    "Unicode blanks": "S1 U1 - -\u00a0bonafide\nS2 U2 -\u2003A07 spoof\n",
}


@pytest.mark.parametrize("key", KEYS)
def test_scores_of_every_protocol_are_read_back(file, tmp_path, key):
    trials = read_protocol(file(KEYS[key], "protocol.txt"))
    path = tmp_path / "scores.txt"
    write_scores(path, [trial.line for trial in trials], [1.5, -2.5])
    expected = [
        (trial.utterance, score, trial.label == "bonafide", trial.attack, trial.speaker)
        for trial, score in zip(trials, [1.5, -2.5], strict=True)
    ]
    assert columns(read_cm_scores(path)) == expected


def test_scores_of_a_subset(file):
    path = file(KEYS["2021 LA"].replace("\n", " 1.5\n"))
    scores = read_cm_scores(path)
    assert len(scores.scores) == 2
    assert "subsets eval (1), progress (1), all taken" in scores.note
    assert columns(read_cm_scores(path, protocol_subset=["eval"])) == [("LA_E_9332881", 1.5, False, "A07", "LA_0009")]
    with pytest.raises(InputError, match=r"no subset 'hidden'; it has eval \(1\), progress \(1\)"):
        read_cm_scores(path, protocol_subset=["hidden"])
    with pytest.raises(InputError, match="no subset 'eval'; it has no subsets"):
        read_cm_scores(file(SIX), protocol_subset=["eval"])


def test_a_subset_of_scores_without_labels(file):
    trials = {t.utterance: t for t in read_protocol(file(KEYS["2021 LA"], "p.txt"))}
    path = file("LA_E_9332881 -2.5\nLA_E_1665632 1.5\n")
    scores = read_cm_scores(path, trials, None, ["progress"])
    assert columns(scores) == [("LA_E_1665632", 1.5, True, None, "LA_0020")]
    assert scores.unscored == 0
    with pytest.raises(InputError, match="no trial of progress in it"):
        read_cm_scores(file("LA_E_9332881 -2.5\n"), trials, None, ["progress"])


@pytest.mark.parametrize(
    "protocol", ["U1\nU2\n", "S1 U1\nS2 U2\n", "S1 U1 -\nS2 U2 -\n", "S1 U1 - - -\nS2 U2 - - -\n", "file\nU1\nU2\n"]
)
def test_scores_of_a_blind_protocol_find_their_labels(file, tmp_path, protocol):
    trials = read_protocol(file(protocol, "protocol.txt"))
    path = tmp_path / "scores.txt"
    write_scores(path, [trial.line for trial in trials], [1.5, -2.5])
    key = read_protocol(file("S1 U1 - - bonafide\nS2 U2 - A07 spoof\n", "key.txt"))
    for protocol_format in (None, "asvspoof5"):
        found = read_cm_scores(path, {trial.utterance: trial for trial in key}, protocol_format)
        assert columns(found) == [("U1", 1.5, True, None, "S1"), ("U2", -2.5, False, "A07", "S2")]


@pytest.mark.parametrize("heading", ["speaker utterance cm-score", "filename\tscore", "Utterance Key SCORE"])
def test_a_heading_is_passed_over(file, heading):
    assert columns(read_cm_scores(file(f"{heading}\n{SIX}"))) == columns(read_cm_scores(file(SIX, "plain.txt")))


@pytest.mark.parametrize("first", ["LA_1 A - A07 spoof 1.5score", "LA_1 A - A07 spoof score", "U1 A07 spoof noscore"])
def test_a_first_trial_without_a_number_is_no_heading(file, first):
    second = " ".join([*first.split()[:-1], "2"]).replace("LA_1 A", "LA_1 B").replace("U1", "U2")
    with pytest.raises(InputError, match=r"scores\.txt:1: score '.*score' is no number"):
        read_cm_scores(file(f"{first}\n{second}\n"))


# -- further columns ----------------------------------------------------------------------------------

METADATA = (
    "LA_0009 LA_E_1 alaw ita_tx A07 spoof notrim eval\n"
    "LA_0009 LA_E_2 none - - bonafide notrim eval\n"
    "LA_0010 LA_E_3 opus loc_tx A08 spoof trim hidden\n"
)


@pytest.mark.parametrize("form", ["2021", "short", "2019"])
def test_columns_come_from_the_lines_or_from_the_protocol(tmp_path, form):
    (tmp_path / "protocol.txt").write_text(METADATA)
    trials = {trial.utterance: trial for trial in read_protocol(tmp_path / "protocol.txt", others=["codec", "trim"])}
    lines = {
        "2021": METADATA.splitlines(),
        "short": ["LA_E_1", "LA_E_2", "LA_E_3"],
        "2019": ["LA_0009 LA_E_1 - A07 spoof", "LA_0009 LA_E_2 - - bonafide", "LA_0010 LA_E_3 - A08 spoof"],
    }[form]
    path = tmp_path / "scores.txt"
    path.write_text("".join(f"{line} {k}.5\n" for k, line in enumerate(lines)))
    found = read_cm_scores(path, None if form == "2021" else trials, others=["codec", "trim"])
    assert found.column("codec") == ["alaw", "none", "opus"]
    assert found.column("trim") == ["notrim", "notrim", "trim"]
    assert found.column("attack") == ["A07", None, "A08"]
    assert found.scores.tolist() == [0.5, 1.5, 2.5]
    part = read_cm_scores(path, trials, protocol_subset=["eval"], others=["codec", "trim"])
    assert part.column("codec") == ["alaw", "none"]
    path.write_text("".join(f"{lines[k]} {k}.5\n" for k in (0, 2)))
    part = read_cm_scores(path, trials, protocol_subset=["eval"], others=["codec", "trim"])
    assert (part.scores.tolist(), part.unscored) == ([0.5], 1)  # LA_E_2 is in the protocol only


def test_a_protocol_is_no_score_file(tmp_path):
    (tmp_path / "protocol.txt").write_text("LA_0009 LA_E_1 - A07 spoof\nLA_0009 LA_E_2 - - bonafide\n")
    with pytest.raises(
        InputError, match=r"protocol\.txt:1: no score at the end of the line, which may be of a protocol"
    ):
        read_cm_scores(tmp_path / "protocol.txt")


def test_columns_that_are_nowhere_and_labels_that_contradict(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("LA_0009 LA_E_1 - A07 spoof 1\nLA_0009 LA_E_2 - - bonafide 2\n")
    with pytest.raises(InputError, match="its trials have no codec, only speaker environment attack; give a protocol"):
        read_cm_scores(path, others=["codec"])
    protocol = tmp_path / "protocol.txt"
    protocol.write_text(METADATA.replace("none - - bonafide", "none - A09 spoof"))
    trials = {trial.utterance: trial for trial in read_protocol(protocol, others=["codec"])}
    with pytest.raises(InputError, match=r"scores\.txt:2: the protocol calls this trial spoof"):
        read_cm_scores(path, trials, others=["codec"])
