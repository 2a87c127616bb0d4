"""`score_eval.py`: groups, intervals, comparisons, thresholds, and what it prints, writes and refuses."""

import csv
import datetime
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import score_eval
from countermeasure import __version__
from countermeasure.errors import InputError
from countermeasure.evaluation import advice, asvspoof, tables
from countermeasure.evaluation.asv import LA_EVAL
from countermeasure.evaluation.command import system_names
from countermeasure.evaluation.results import ATTACK, SPEAKER
from countermeasure.evaluation.study import run_study
from countermeasure.trials.score_files import ModelsRecord, ScoreRecord, read_cm_scores, write_record
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER, MIN_DCF, MIN_TDCF_2019, evaluate

ROOT = Path(__file__).parents[1]
LABELS = ("bonafide", "spoof")


def lines(seed=0, n=300, speakers=12, noise=1.0):
    """Lines of a score file: three attacks, the third one hard to tell."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    voice = fixed.normal(0, 1, n)
    out = []
    for k in range(n):
        speaker, attack = f"LA_{k % speakers:04d}", ("-", "A01", "A02", "A03")[k // speakers % 4]
        score = {"-": 2, "A01": -2, "A02": -1, "A03": 1}[attack] + voice[k] + rng.normal(0, noise)
        label = "bonafide" if attack == "-" else "spoof"
        out.append(f"{speaker} LA_E_{k} - {attack} {label} {score:.6f}\n")
    return out


def by_codec():
    """Lines in the form of 2021 LA: bona fide speech and two attacks through two codecs, one of them hard."""
    rng = np.random.default_rng(0)
    out = []
    for k in range(400):
        attack, codec = ("-", "A07", "A08", "-")[k % 4], ("alaw", "none")[k // 4 % 2]
        label = "bonafide" if attack == "-" else "spoof"
        score = rng.normal() + {"-": 2, "A07": -1, "A08": 0}[attack] - (codec == "alaw") * (label == "bonafide")
        subset = "progress" if k % 8 == 0 else "eval"
        out.append(f"LA_{k % 10:04d} LA_E_{k} {codec} ita_tx {attack} {label} notrim {subset} {score:.4f}\n")
    return out


def without_score(line):
    return line.rsplit(" ", 1)[0]


def turned(content):
    return [f"{without_score(line)} {-float(line.split()[-1])}\n" for line in content]


@pytest.fixture
def file(tmp_path):
    def write(name="scores.txt", content=None, **kwargs):
        path = tmp_path / name
        path.write_text("".join(content or lines(**kwargs)))
        return path

    return write


@pytest.fixture
def scores(file):
    """Return a function that writes a score file and reads it."""

    def read(name="scores.txt", content=None, others=(), **kwargs):
        return read_cm_scores(file(name, content, **kwargs), others=others)

    return read


@pytest.fixture
def printed(capsys):
    """Return a function that runs the script and returns what it prints."""

    def run(*arguments):
        assert score_eval.main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


def script(*arguments, **kwargs):
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, **kwargs)


# --- figures


def test_official_figures(shared_data, printed):
    cm = ("--cm_score", shared_data / "asvspoof2019" / "B01_LA_primary_eval.txt", "--asv_score", LA_EVAL.source)
    out = printed(*cm, "--by", "attack")
    for figure in ("2.458 %", "-5.680051", "2.460 %", "23.935 %", "9.572 %", "min t-DCF (2019)      0.235936"):
        assert figure in out
    # What is known of the data set.
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("A")}
    assert rows["A07"].endswith("TTS, WORLD vocoder and GAN")
    assert rows["A17"].endswith("VC, waveform filtering")
    content = json.loads(printed(*cm, "--legacy", "False", "--json", "-"))
    found = content["systems"][0]["pooled"]["evaluation"]
    assert round(100 * found["eer"]["value"], 5) == 9.57203
    assert round(found["min_tdcf_revisited"]["value"], 6) == 0.283868


# --- groups


def test_an_attack_stands_against_all_bona_fide_trials_with_asv_rates_of_its_own(scores):
    content = [line.replace(" A01 ", " A07 ").replace(" A02 ", " A17 ") for line in lines()]
    cm = scores(content=content)
    study = run_study({"s": cm}, LA_EVAL, by=[ATTACK])
    groups = study["s"].groups(ATTACK)
    assert [group.name for group in groups] == ["A03", "A07", "A17", "pooled"]
    missed = {"A03": LA_EVAL.rates.p_miss_spoof, "A07": 36 / 4914, "A17": 4571 / 4914}
    for group in groups[:-1]:
        rates = LA_EVAL.rates._replace(p_miss_spoof=missed[group.name])
        spoof = cm.scores[np.array(cm.columns.attacks) == group.name]
        assert group.evaluation == evaluate(cm.scores[cm.bonafide], spoof, rates)
    assert study.notes == ("The ASV scores have no A03; their t-DCF uses the ASV rates over all attacks",)


def test_a_speaker_stands_alone(scores):
    cm = scores(content=[line for line in lines() if not (line.startswith("LA_0003") and "spoof" in line)])
    study = run_study({"s": cm}, by=[SPEAKER], with_intervals=True)
    groups = {group.name: group for group in study["s"].groups(SPEAKER)}
    own = np.array(cm.columns.speakers) == "LA_0000"
    expected = evaluate(cm.scores[own & cm.bonafide], cm.scores[own & ~cm.bonafide])
    assert groups["LA_0000"].evaluation == expected
    over_trials = intervals.Units("trials", np.arange(np.count_nonzero(own)))
    influences = intervals.influences(cm.scores[own], cm.bonafide[own], over_trials, {})
    assert groups["LA_0000"].intervals[EER] == intervals.interval(influences[EER])
    assert (groups["LA_0003"].evaluation, groups["LA_0003"].n_spoof) == (None, 0)


def test_a_codec_stands_alone_and_crosses_with_attacks(scores, file, printed):
    cm = scores(content=by_codec(), others=["codec"])
    study = run_study({"s": cm}, by=["attack", "codec"], with_intervals=True)
    system = study["s"]
    assert [group.name for group in system.groups("codec")] == ["alaw", "none", "pooled"]
    codecs, attacks = np.array([line.split()[2] for line in by_codec()]), np.array(cm.columns.attacks)
    for group in system.groups("attack", "codec")[:-1]:
        attack, codec = group.values
        bonafide = cm.scores[cm.bonafide & (codecs == codec)]
        spoof = cm.scores[(attacks == attack) & (codecs == codec)]
        assert (group.n_bonafide, group.n_spoof) == (len(bonafide), len(spoof)) == (100, 50)
        assert group.evaluation == evaluate(bonafide, spoof)
        assert group.intervals[EER].low <= group.evaluation.eer.value <= group.intervals[EER].high
    eer, min_dcf, cllr = tables.by_group(study)
    captions = [f"s: {name} by attack and codec" for name in ("EER, %", "min DCF", "C_llr")]
    assert [eer.caption, min_dcf.caption, cllr.caption] == captions
    assert eer.header == [("attack", "alaw", "none", "pooled")]
    assert [row[0] for row in eer.rows] == ["A07", "A08", "pooled"]
    whole = evaluate(cm.scores[cm.bonafide], cm.scores[~cm.bonafide])
    # As many decimals as the trials of a group support.
    assert cllr.rows[-1][-1] == f"{whole.cllr:.3f}"
    assert eer.rows[0][-1] == f"{100 * system.groups('attack')[0].value(EER):.2f}"
    assert eer.rows[-1][1] == f"{100 * system.groups('codec')[0].value(EER):.2f}"
    assert eer.rows[1][2] == f"{100 * system.groups('attack', 'codec')[3].value(EER):.1f}"
    # Several systems: a table for each figure, or for each system and figure.
    paths = [file("a.txt", by_codec()), file("b.txt", turned(by_codec()))]
    out = printed("--cm_score", *paths, "--by", "Subset")
    for figure in ("EER, %", "min DCF", "C_llr"):
        assert f"{figure} by subset\nsubset" in out
    out = printed("--cm_score", *paths, "--by", "attack", "codec")
    assert "a: EER, % by attack and codec" in out
    assert "b: C_llr by attack and codec" in out
    assert out.count("A07") == 3 * out.count("TTS, WORLD vocoder and GAN") == 6  # explained with the EER alone
    rows = list(csv.DictReader(printed("--cm_score", paths[0], "--by", "codec", "--csv", "-").splitlines()))
    assert [(row["by"], row["group"]) for row in rows] == [("codec", "alaw"), ("codec", "none"), ("", "pooled")]


def test_a_column_that_is_blank_for_bona_fide_speech_tells_spoofs_apart(scores):
    """ASVspoof 2021 DF writes 'bonafide' as the vocoder of bona fide trials."""
    vocoders = ["bonafide", "traditional_vocoder", "unknown"]
    content = [
        f"S LA_E_{k} nocodec asvspoof A07 {'spoof' if k % 3 else 'bonafide'} notrim eval {vocoders[k % 3]} - - - - "
        f"{k % 7}\n"
        for k in range(60)
    ]
    groups = run_study({"s": scores(content=content, others=["vocoder"])}, by=["vocoder"])["s"].groups("vocoder")
    assert [(group.name, group.n_bonafide, group.n_spoof) for group in groups] == [
        ("traditional_vocoder", 20, 20), ("unknown", 20, 20), ("pooled", 20, 40),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "names"), [("codec", ["-", "C01"]), ("gender", ["F", "M"]), ("attack_tag", ["AC1"])]
)
def test_columns_of_asvspoof5(scores, column, names):
    """ASVspoof 5 writes '-' for speech without a codec, which is a condition like any other."""
    content = [
        f"E_{k % 7} E_{k} {'FM'[k // 2 % 2]} {('-', 'C01')[k // 4 % 2]} - - {('-', 'AC1')[k % 2]} "
        f"{('bonafide', 'A17')[k % 2]} {LABELS[k % 2]} - {k % 5}\n"
        for k in range(80)
    ]
    groups = run_study({"s": scores(content=content, others=[column])}, by=[column])["s"].groups(column)
    assert [group.name for group in groups] == [*names, "pooled"]


def test_columns_of_a_csv(file, printed):
    rooms = ("big office", "hall")
    rows = [f"{k}.wav,{LABELS[k % 2]},{rooms[k // 2 % 2]}\n" for k in range(40)]
    protocol = file("own.csv", ["file,label,room\n", *rows])
    own, dev = (file(f"{name}.txt", [f"{k}.wav {k % 7}\n" for k in range(40)]) for name in ("own", "dev"))
    labels = ("--protocol", protocol)
    out = printed("--cm_score", own, *labels, "--by", "room", "--threshold_from", dev, "--dev", dev)
    assert [line.split()[0] for line in out.split("own by room")[1].splitlines()[4:8]] == [
        "big%20office", "hall", "------------", "pooled",
    ]  # fmt: skip
    assert "dev EER" in out


def test_attacks_are_explained_where_the_trials_are_those_of_asvspoof(scores):
    """Other corpora have other attacks under the same ids, and names of the same form."""
    cm = scores()
    assert set(cm.columns.attacks) == {None, "A01", "A02", "A03"}
    assert (asvspoof.attacks(cm), asvspoof.data_set(cm)) == ({}, None)
    assert asvspoof.attacks(scores(content=[line.replace(" A03 ", " A06 ") for line in lines()])) == {}
    evaluated = [line.replace(" A01 ", " A07 ") for line in lines()]
    assert asvspoof.attacks(scores(content=evaluated))["A07"] == "TTS, WORLD vocoder and GAN"
    assert asvspoof.attacks(scores(content=[line.replace("LA_E_", "E_") for line in evaluated])) == {}


@pytest.mark.parametrize(
    ("name", "n_bonafide", "n_trials"),
    [
        ("ASVspoof 2019 LA, eval", 7355, 71_237),
        ("ASVspoof 2019 PA, eval", 18_090, 134_730),
        ("ASVspoof 2021 LA, eval", 14_816, 148_176),
        ("ASVspoof 2021 DF, eval", 14_869, 533_928),
        ("ASVspoof 5, eval (track 1)", 138_688, 680_774),
    ],
)
def test_data_sets_are_known_by_the_lines_of_their_protocols(scores, name, n_bonafide, n_trials):
    assert asvspoof.data_set(scores()._replace(bonafide=np.arange(n_trials) < n_bonafide)) == name


# --- intervals and comparisons


@pytest.mark.parametrize(
    ("speakers", "over", "shown"),
    [(5, [], "5 speakers"), (4, [], "300 trials"), (5, ["trials"], "300 trials"), (4, ["speakers"], None)],
)
def test_units_of_intervals(file, printed, speakers, over, shown):
    out = printed("--cm_score", file(speakers=speakers), "--by", "attack", "--intervals", *over)
    assert (f"95 % intervals over {shown}" in out) == bool(shown)
    assert ("Note: Intervals are over trials, because a trial names no speaker" in out) == (speakers < 5 and not over)
    too_few = "Note: [-] too few speakers for an interval, which needs 5 of either class; --intervals trials gives"
    assert (too_few in out) == (shown is None)
    pooled = next(line for line in out.splitlines() if line.startswith("pooled"))
    assert (pooled.count("["), pooled.count("[-]")) == (2, 0 if shown else 2)


def test_trials_without_speakers_stand_for_themselves(scores):
    unnamed = ["- " + line.split(" ", 1)[1] for line in lines(seed=1)]
    study = run_study({"named": scores("a.txt"), "unnamed": scores("b.txt", unnamed)}, with_intervals=True)
    assert [system.units.over for system in study.systems] == ["speakers", "trials"]
    assert study.notes[0].startswith("Intervals are over trials, because a trial names no speaker")
    assert study.comparisons == ()
    assert any("their files name different speakers" in note for note in study.notes)
    assert "|intervals=Korn-Graubard,over:12 speakers+300 trials|" in study.signature()


@pytest.mark.parametrize("over", ["speakers", "trials"])
def test_intervals_do_not_depend_on_the_order_of_lines(scores, over):
    files = [scores("a.txt", lines(n=120)), scores("b.txt", lines(n=120)[::-1])]
    a, b = (run_study({"s": cm}, with_intervals=over)["s"].pooled.intervals for cm in files)
    for figure in (EER, MIN_DCF):
        assert (a[figure].low, a[figure].high) == pytest.approx((b[figure].low, b[figure].high))


def test_a_clear_difference_is_told_from_noise(scores):
    files = {
        "base": scores("a.txt", n=1200),
        "same": scores("b.txt", n=1200, seed=1),
        "worse": scores("c.txt", n=1200, seed=2, noise=6.0),
    }
    study = run_study(files, LA_EVAL, with_intervals=True)
    assert study.best.name == "base"
    same, worse, *costs = study.comparisons
    assert (same.system, worse.system, worse.reference) == ("same", "worse", "base")
    assert same.interval.low < 0 < same.interval.high
    assert same.p > 0.05 > worse.p
    assert worse.interval.low > 0
    assert worse.difference == study["worse"].evaluation.eer.value - study["base"].evaluation.eer.value
    assert {comparison.figure for comparison in costs} == {MIN_TDCF_2019}
    best, chance = advice.summary(study)
    assert best.startswith("base has the lowest EER of 3 systems: ")
    assert chance == f"May be chance: the difference in EER between base and same (p = {same.p:.3f})."
    rows = tables.comparisons(study).rows
    assert [row[0] for row in rows] == ["same", "worse"]
    low, high = worse.interval.low, worse.interval.high
    assert rows[1][1:3] == (f"{100 * worse.difference:+.2f}", f"[{100 * low:+.2f}, {100 * high:+.2f}]")
    both = run_study({name: files[name] for name in ("base", "worse")}, with_intervals=True)
    assert advice.summary(both)[1] == (
        "Every other system's EER differs from that of base by more than chance (p < 0.05)."
    )


def test_files_that_do_not_fit_are_not_compared(scores):
    swap = {"bonafide": "spoof", "spoof": "bonafide"}
    words = [line.split() for line in lines()]
    swapped = [" ".join([*word[:4], swap[word[4]], word[5]]) + "\n" for word in words]
    one = [*lines()[:7], swapped[7], *lines()[8:]]
    contents = {"a": lines(), "swapped": swapped, "one": one[::-1], "turned": lines()[::-1], "fewer": lines(n=200)}
    files = {name: scores(f"{name}.txt", content) for name, content in contents.items()}
    study = run_study(files, with_intervals=True, reference="a")
    assert {comparison.system for comparison in study.comparisons} == {"turned"}
    for system, problem in (
        ("swapped", "give 300 of 300 trials different labels, first LA_E_0"),
        ("one", "give 1 of 300 trials different labels, first LA_E_7"),
        ("fewer", "have different trials"),
    ):
        assert f"{system} is not compared with a: their files {problem}" in study.notes


def test_the_best_is_chosen_by_the_same_scores(scores):
    """A comparison with the best is one of all pairs, each of which could have been it; Holm's method by hand."""
    files = {name: scores(f"{name}.txt", seed=k, noise=1 + k / 4) for k, name in enumerate("abcd")}
    with_best, with_named = (run_study(files, with_intervals=True, reference=name) for name in (None, "d"))
    best = with_best.best.name
    assert best == min(files, key=lambda name: with_best[name].evaluation.eer.value)
    for study, name, n in ((with_best, best, 6), (with_named, "d", 3)):
        found = [comparison for comparison in study.comparisons if comparison.figure == EER]
        assert [comparison.system for comparison in found] == [other for other in files if other != name]
        assert {(comparison.reference, comparison.n_comparisons) for comparison in found} == {(name, n)}
    p = {pair: with_best.compare(*pair).p for pair in itertools.combinations("abcd", 2)}
    corrected, largest = {}, 0.0
    for rank, pair in enumerate(sorted(p, key=p.get)):
        corrected[pair] = largest = max(largest, min(1, (6 - rank) * p[pair]))
    for comparison in with_best.comparisons[:3]:
        assert comparison.p == pytest.approx(corrected[tuple(sorted((comparison.system, best)))])
    assert tables.comparisons(with_best).caption.startswith(f"Compared with {best}, the best: 95 % interval")
    assert tables.comparisons(with_named).caption.startswith("Compared with d: 95 % interval")


def test_no_difference_is_called_none(scores):
    study = run_study({name: scores() for name in "ab"}, with_intervals=True)
    assert tables.comparisons(study).rows == [
        ("b", "+0.0", "[+0.0, +0.0]", "1.000", "+0.00", "[+0.00, +0.00]", "1.000")
    ]
    assert advice.summary(study)[1] == "May be chance: the difference in EER between a and b (p = 1.000)."


# --- thresholds from elsewhere


def test_threshold_of_a_development_set(scores):
    dev, evaluated = scores("dev.txt", seed=1), scores("eval.txt", seed=2)
    found = run_study({"s": evaluated}, threshold_from={"s": dev})["s"].applied
    assert [applied.rule for applied in found] == [EER, MIN_DCF]
    for applied in found:
        for cm, rates in (
            (dev, (applied.expected_p_miss, applied.expected_p_fa)),
            (evaluated, (applied.p_miss, applied.p_fa)),
        ):
            accepted = cm.scores > applied.threshold
            assert rates == (np.mean(~accepted[cm.bonafide]), np.mean(accepted[~cm.bonafide]))
        assert applied.dcf == pytest.approx(1.9 * applied.p_miss + applied.p_fa)
    assert found[0].threshold == metrics.eer(dev.scores[dev.bonafide], dev.scores[~dev.bonafide])[1]


def test_a_threshold_has_the_error_rates_of_the_figure_it_belongs_to(file, printed):
    path = file(content=["a A01 spoof 0\n", "b A01 spoof 1\n", "c - bonafide 2\n", "d - bonafide 3\n"])
    system = json.loads(printed("--cm_score", path, "--threshold_from", path, "--json", "-"))["systems"][0]
    assert system["pooled"]["evaluation"]["eer"] == {"value": 0, "threshold": 1, "p_miss": 0, "p_fa": 0}
    for applied in system["threshold_from"]:
        assert {applied[name] for name in ("expected_p_miss", "expected_p_fa", "p_miss", "p_fa", "dcf")} == {0}
    out = printed("--cm_score", path, "--threshold_from", path)
    assert out.count("1.000000        0.0      0.0        0.0      0.0  0.00") == 2


# --- notes


CAUSES = ["bona fide and spoof are swapped, in the models", "the scores have the wrong sign"]
OVERFITTED = {
    "fusion": "the fusion overfits, 60 components for 120 training files: train with fewer "
    "--n_components or --method logistic",
    "models": "the models overfit, 64 components for 3000 training frames: train with fewer --n_components;",
}


@pytest.mark.parametrize(
    ("models", "cause"),
    [
        (ModelsRecord("gmm", "file scores", [60, 60], [120, 280]), OVERFITTED["fusion"]),
        (ModelsRecord("gmm", "features", [64, 64], [90_000, 3_000]), OVERFITTED["models"]),
        (ModelsRecord("gmm", "file scores", [1, 1], [60, 280]), None),
        (ModelsRecord("logistic", "file scores", [0, 0], [120, 280]), None),
        (None, None),
    ],
)
@pytest.mark.parametrize("options", [[], ["--intervals"]])
def test_hint_at_scores_that_are_worse_than_chance(file, printed, models, cause, options):
    right, path = file("right.txt"), file(content=turned(lines()))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    write_record(path, ScoreRecord(sha256, "0" * 64, "eval", ["mfcc", "lfcc"], models))
    assert "worse than chance" not in printed("--cm_score", right, *options)
    (note,) = [line for line in printed("--cm_score", path, *options).splitlines() if "worse than chance" in line]
    causes = [cause, *CAUSES] if cause else CAUSES
    assert note.startswith(
        "Note: scores: EER above 50 %, worse than chance. Possible causes, the likeliest first: (1) "
    )
    places = [note.index(f"({k}) {text}") for k, text in enumerate(causes, 1)]
    assert places == sorted(places)
    assert f"({len(causes) + 1})" not in note
    eer = 100 * run_study({"s": read_cm_scores(right)})["s"].evaluation.eer.value
    assert note.endswith(f"With the scores negated the EER would be about {eer:.1f} %")


def test_an_eer_that_is_above_50_by_chance_gets_no_hint(scores):
    """Uninformative scores: half of such sets have an EER above 50 %."""
    rng = np.random.default_rng(1)
    content = [f"S{k % 20} U{k} - {('A01 spoof', '- bonafide')[k % 2]} {rng.normal():.4f}\n" for k in range(100)]
    study = run_study({"s": scores(content=content)})
    assert 0.5 < study["s"].evaluation.eer.value < 0.6
    assert study.notes == ()


def test_equal_scores_are_no_turned_sign(scores):
    study = run_study({"s": scores(content=["a - bonafide 1\n", "b A01 spoof 1\n"])})
    assert study.notes == ("s: all scores are equal and carry no information; ties count against the detector",)


# --- the verification system


def test_an_asv_system_that_rejects_every_spoof_leaves_the_eer(file, printed):
    asv = file("asv.txt", [f"A01 {key} {s}\n" for key, s in (("target", 3), ("nontarget", 1), ("spoof", 0))])
    plain = json.loads(printed("--cm_score", file(), "--json", "-"))["systems"][0]["pooled"]["evaluation"]
    files = ("--cm_score", file(), file("b.txt", seed=1), "--asv_score", asv)
    content = json.loads(printed(*files, "--by", "attack", "--json", "-"))
    assert content["systems"][0]["pooled"]["evaluation"] == plain
    assert any("rejects every spoof" in note for note in content["notes"])
    out = printed("--cm_score", file(), "--asv_score", asv)
    assert f"{100 * plain['eer']['value']:.1f} %" in out
    assert "100.000 %   spoofs rejected" in out
    assert "No min t-DCF" in out


def test_the_older_suites_asv_file_stands_for_its_rates(capsys, file, tmp_path, printed):
    absent = tmp_path / "tDCF_python" / "scores" / "ASVspoof2019_LA_eval_asv_scores.txt"
    assert score_eval.main(["--cm_score", str(file()), "--asv_score", str(absent)]) == 0
    told = capsys.readouterr()
    assert told.err.startswith(f"{absent}: no such file; its known error rates are taken (asvspoof2019-la-eval)\n")
    assert told.out == printed("--cm_score", file(), "--asv_score", LA_EVAL.source)
    # Where it is there, it is read.
    there = file(absent.name, ["S U - A01 target 3\n", "S U - A01 nontarget 1\n", "S U - A01 spoof 2\n"])
    out = printed("--cm_score", file(), "--asv_score", there)
    assert LA_EVAL.source not in out
    assert re.search(r"EER +0\.000 %   at threshold 1\.000000\n  P_fa +100\.000 %.*\n  P_miss +0\.000 %", out)


# --- what is printed and written


def test_several_files_make_one_table(file, printed):
    files = (file("a.txt"), file("b.txt", noise=2))
    out = printed("--cm_score", *files, "--name", "A", "B", "--asv_score", LA_EVAL.source)
    assert out.startswith("300 trials, 84 bona fide and 216 spoof; * best\n")
    head, units, rule, *rows = out.splitlines()[1:6]
    assert re.split("  +", head) == ["system", "EER", "min t-DCF", "min t-DCF", "min DCF", "act. DCF", "C_llr"]
    assert units.split() == ["%", "2019", "revisited", "bits"]
    assert set(rule) == {"-", " "}
    study = run_study({name: read_cm_scores(path) for name, path in zip("AB", files, strict=True)}, LA_EVAL)
    for row, system in zip(rows, study.systems, strict=True):
        found = system.evaluation
        costs = (found.min_tdcf_2019.value, found.min_tdcf_revisited.value, found.min_dcf.value, found.actual_dcf)
        expected = [f"{100 * found.eer.value:.1f}", *(f"{cost:.2f}" for cost in (*costs, found.cllr))]
        assert [word.rstrip("*") for word in row.split()] == [system.name, *expected]
        assert row.count("*") == (6 if system.name == "A" else 0)
    assert out.splitlines()[-2] == "-" * 72
    assert out.splitlines()[-1].endswith(f"|suite={__version__}")
    assert "cm=" not in out  # the signatures of the files are in the report
    # Without ASV scores it says what is missing, and has no column without a value.
    for some in (files[:1], files):
        out = printed("--cm_score", *some)
        assert out.count("For min t-DCF give the ASV system's scores: --asv_score FILE, or asvspoof2019-la-eval") == 1
        assert "revisited" not in out
    # Other trials: how many they are stands in the table, and none is the best.
    out = printed("--cm_score", files[0], file("c.txt", n=200))
    assert re.search(r"^a +84 +216 ", out, re.MULTILINE)
    assert "*" not in out
    assert "on different trials, so none of them is called the best" in out


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["out/mfcc-eval.txt", "out/lfcc_eval.txt", "x.dev.txt", "eval.txt"], ["mfcc", "lfcc", "x", "eval"]),
        (["mfcc-eval.txt", "mfcc-dev.txt"], ["mfcc-eval", "mfcc-dev"]),
        (["a/mfcc-eval.txt", "b/mfcc-eval.txt"], ["a/mfcc-eval.txt", "b/mfcc-eval.txt"]),
        (["medieval.txt", "-eval.txt"], ["medieval", "-eval"]),
    ],
)
def test_systems_are_named_without_their_split(names, expected):
    assert system_names(names) == expected


def test_the_best_on_dev_is_marked(file, printed):
    """The table has the EERs on dev beside those on eval, where another one may be the best."""
    files = (file("a-eval.txt"), file("b-eval.txt", noise=2))
    dev = (file("a-dev.txt", noise=2), file("b-dev.txt"))
    out = printed("--cm_score", *files, "--dev", *dev)
    assert out.startswith("300 trials, 84 bona fide and 216 spoof; best on dev marked; * best\nsystem  dev EER")
    eers = [100 * run_study({"s": read_cm_scores(path)})["s"].evaluation.eer.value for path in dev]
    rows = [line.split() for line in out.splitlines()[4:6]]
    assert [row[:2] for row in rows] == [["a", f"{eers[0]:.1f}"], ["b", f"{eers[1]:.1f}*"]]
    assert out.count("*") == 2


def test_files_of_other_models_are_told_apart(file, printed):
    """By their records; the files of a development set are easily given in another order."""
    files = {name: file(name) for name in ("a-eval.txt", "b-eval.txt", "a-dev.txt", "b-dev.txt", "other-dev.txt")}
    for name, path in files.items():
        if "other" not in name:
            sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            split = "dev" if "dev" in name else "train"
            write_record(path, ScoreRecord(sha256, name[0] * 64, split, ["lfcc"]))
    systems = "--cm_score", files["a-eval.txt"], files["b-eval.txt"]
    for option in ("--dev", "--threshold_from"):
        out = printed(*systems, option, files["a-dev.txt"], files["other-dev.txt"])
        assert "Note: a: scores of training data, which the models fit better than other data" in out
        message = rf"{option} .*b-dev\.txt: scores of other models than .*a-eval\.txt; give a file for each"
        with pytest.raises(InputError, match=message):
            printed(*systems, option, files["b-dev.txt"], files["a-dev.txt"])


def test_two_fields_with_a_protocol(file, printed):
    content = lines()
    protocol = file("protocol.txt", [without_score(line) + "\n" for line in content])
    short = file("short.txt", [f"{line.split()[1]} {line.split()[-1]}\n" for line in content[:-1]])
    expected = printed("--cm_score", file("full.txt", content[:-1]), "--by", "attack", "--name", "s")
    out = printed("--cm_score", short, "--by", "attack", "--name", "s", "--protocol", protocol)
    assert out.split("Note:")[0].rstrip() == expected.split("-" * 72)[0].rstrip()
    assert "1 trial of the protocol without a score is not counted" in out
    # Of several protocols, one may be for the development set.
    out = printed("--cm_score", short, "--protocol", protocol, file("dev.txt", ["- LA_D_1 - - bonafide\n"]))
    assert "of the protocol" not in out


def test_labelled_files_are_compared_with_a_protocol(file, printed):
    protocol = file("protocol.txt", [without_score(line) + "\n" for line in lines()])
    out = printed("--cm_score", file(content=lines()[:-7]), "--protocol", protocol)
    assert "7 trials of the protocol without a score are not counted" in out
    # Files with labels may also be of other trials.
    dev = file("dev.txt", [line.replace("LA_E_", "LA_D_") for line in lines()])
    out = printed("--cm_score", file(), "--threshold_from", dev, "--protocol", protocol)
    assert "set on other scores" in out
    assert "of the protocol" not in out
    swapped = file("swapped.txt", [line.replace("bonafide", "spoof") for line in lines()])
    with pytest.raises(InputError, match=r"swapped\.txt:\d+: the protocol calls this trial bonafide"):
        printed("--cm_score", swapped, "--protocol", protocol)


def test_a_reference_is_compared_with_all_others(file, printed):
    files = (file("a.txt"), file("b.txt", noise=2))
    assert "\nCompared with b: 95 % interval of the difference" in printed("--cm_score", *files, "--reference", "b")
    assert "Compared with" not in printed("--cm_score", *files)


def test_json_and_csv_say_what_the_report_says(file, tmp_path, printed):
    path, out_json, out_csv = file(), tmp_path / "new" / "a.json", tmp_path / "new" / "a.csv"
    outputs = ("--json", out_json, "--csv", out_csv)
    dev = ("--dev", file("dev.txt", noise=2))
    printed("--cm_score", path, "--asv_score", LA_EVAL.source, "--by", "attack", "--intervals", *outputs, *dev)
    content = json.loads(out_json.read_text())
    assert content["dev"]["scores"]["evaluation"]["eer"]["value"] == pytest.approx(
        run_study({"s": read_cm_scores(dev[1])})["s"].evaluation.eer.value
    )
    assert content["advice"] == []
    system = content["systems"][0]
    cm = read_cm_scores(path)
    expected = evaluate(cm.scores[cm.bonafide], cm.scores[~cm.bonafide], LA_EVAL.rates)
    pooled = system["pooled"]
    assert pooled["evaluation"]["min_tdcf_2019"] == expected.min_tdcf_2019._asdict()
    assert pooled["intervals"]["eer"]["low"] <= expected.eer.value <= pooled["intervals"]["eer"]["high"]
    rows = list(csv.DictReader(out_csv.read_text().splitlines()))
    assert [row["group"] for row in rows] == ["A01", "A02", "A03", "pooled"]
    for column, value in (
        ("eer", expected.eer.value),
        ("eer_low", pooled["intervals"]["eer"]["low"]),
        ("min_dcf_p_fa", expected.min_dcf.p_fa),
        ("cllr", expected.cllr),
    ):
        assert float(rows[-1][column]) == value
    for part in ("P_spoof:0.05", "C_fa:10", cm.sha256[:12], "trials=84+216", "over:12 speakers", __version__):
        assert part in system["signature"]


def test_report_and_pictures(file, tmp_path, capsys):
    """They say what they are of and what was found; bytes of names that are no UTF-8 are written out."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    names = ["a-eval.txt", os.fsdecode(b"caf\xe9.txt")]
    files = [str(file(name, seed=k, noise=1 + 2 * k)) for k, name in enumerate(names)]
    report, plots = tmp_path / "report.html", tmp_path / "plots"
    assert score_eval.main(["--cm_score", *files, "--report", str(report), "--plot", str(plots)]) == 0
    out, err = capsys.readouterr()
    assert "report: " in err
    assert f"pictures in {plots}: det.png, " in err
    kinds = {".png": b"\x89PNG", ".svg": b"<?xml"}
    assert [path.read_bytes().startswith(kinds[path.suffix]) for path in plots.iterdir()] == [True] * 10
    page = report.read_text(encoding="utf-8")
    assert f'<p class="soft">{datetime.date.today().isoformat()}; 300 trials, ' in page
    assert "a has the lowest EER of 2 systems: " in page
    assert "Compared with a, the best: 95 % interval of the difference, paired" in page
    found = run_study({"a": read_cm_scores(files[0])})["a"].evaluation
    for point, name in ((found.eer, "EER"), (found.min_dcf, "min DCF")):
        cells = ("a", name, f"{point.threshold:.6f}", f"{100 * point.p_miss:.1f}", f"{100 * point.p_fa:.1f}")
        assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    assert "caf\\udce9" in page
    assert "By attack" in page
    best = re.search(r"^a +(\S+)\*", out, re.MULTILINE)
    assert f"<td>a</td><td><b>{best[1]}</b></td>" in page
    assert page.count("cm=a-eval.txt,sha256:") == 1
    assert "var(--ink)" in page.split("<svg")[1]  # a dark page has light lines
    assert page.count('<tr class="total">') == page.count('<tr class="total"><td>pooled</td>') == 3
    assert "intervals" not in out.split("-" * 72)[0]  # they and attacks were not asked for
    assert "by attack" not in out


# --- the process


def test_a_closed_output_is_no_crash(file, tmp_path):
    out = tmp_path / "out.json"
    command = f'"{sys.executable}" score_eval.py --cm_score "{file()}" --json "{out}" >&-'
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
    assert json.loads(out.read_text())["systems"][0]["name"] == "scores"


def test_tables_in_any_encoding(file):
    odd = file(os.fsdecode(b"caf\xe9.txt"))
    done = script("score_eval.py", "--cm_score", odd, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stdout.startswith("caf\\udce9: 300 trials")


def test_a_plain_report_loads_neither_scipy_nor_matplotlib_and_help_no_numpy(file):
    code = (
        "import sys, score_eval\n"
        "score_eval.build_parser().format_help()\n"
        "assert 'numpy' not in sys.modules\n"
        "score_eval.main(sys.argv[1:])\n"
        "assert not {'scipy', 'sklearn', 'matplotlib'}.intersection(sys.modules)\n"
    )
    done = script("-c", code, "--cm_score", file(), "--by", "attack")
    assert done.returncode == 0, done.stderr
    assert "higher score = bona fide" in done.stdout


# --- wrong calls

TWO = ["a - bonafide 1\n", "b A01 spoof 0\n"]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (["a - bonafide 1\n"], [], r"scores\.txt: no spoof trial in it"),
        (["a A01 spoof 1\n"], [], r"scores\.txt: no bona fide trial in it"),
        (["a - bonafide nan\n"], [], "not finite"),
        (["a 1\n"], [], "--protocol"),
        (TWO, ["--by", "speaker"], "no trial names its speaker"),
        (TWO, ["--intervals", "speakers"], "trials that name them"),
        (TWO, ["--name", "x", "y"], "2 names for 1 score files"),
        (TWO, ["--by", "codec"], "its trials have no codec, only attack; give"),
        (TWO, ["--by", "attack", "speaker", "label"], "give one column, or two"),
        (TWO, ["--threshold_from", "x", "y"], "--threshold_from: 2 files for 1 systems"),
        (TWO, ["--dev", "x", "y"], "--dev: 2 files for 1 systems"),
        (TWO, ["--reference", "x"], "--reference x: no such system; give one of scores"),
        (TWO, ["--threshold_from", "nowhere/dev.txt"], r"nowhere/dev\.txt: no such file"),
        (TWO, ["--threshold_from", "one.txt"], r"one\.txt: no spoof trial in it"),
        (TWO, ["--dev", "."], r"\.: is a folder; give a text file"),
        (TWO, ["--asv_score", "x"], "x: no such file; give asvspoof2019-la-eval, or a file that tDCF_python/scores"),
        (TWO, ["--asv_score", "."], r"\.: is a folder"),
        (TWO, ["--json", "a", "--csv", "./a"], "a: this run reads or writes that file already"),
        (TWO, ["--plot", "scores.txt"], r"scores\.txt: is a file; give the name of a folder for the pictures"),
        (TWO, ["--report", "."], "is a folder; give the name of a file"),
        (TWO, ["--report", "r.html", "matplotlib is missing"], "pictures need matplotlib; install it with"),
        (TWO, ["--report", "-"], "--report -: a report is an HTML file; give its name"),
    ],
)
def test_wrong_calls(file, tmp_path, monkeypatch, content, arguments, message):
    file(content=content)
    file("one.txt", TWO[:1])
    monkeypatch.chdir(tmp_path)
    if "matplotlib is missing" in arguments:
        arguments = arguments[:-1]
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=message):
        score_eval.main(["--cm_score", "scores.txt", *arguments])
    assert sorted(os.listdir(tmp_path)) == ["one.txt", "scores.txt"]


@pytest.mark.parametrize("options", [["--intervals", "9"], ["--legacy", "perhaps"], ["--json", "-", "--csv", "-"]])
def test_options_that_do_not_parse(options):
    with pytest.raises(SystemExit, match="2"):
        score_eval.main(["--cm_score", "scores.txt", *options])


@pytest.mark.parametrize("source", ["cm.txt", "asv.txt", "protocol.txt", "dev.txt", "threshold.txt"])
def test_what_is_read_is_not_written_over(file, tmp_path, source):
    options = {"--cm_score": "cm.txt", "--protocol": "protocol.txt", "--dev": "dev.txt", "--asv_score": "asv.txt"}
    options["--threshold_from"] = "threshold.txt"
    arguments = [str(word) for option, name in options.items() for word in (option, file(name))]
    (tmp_path / "other name.txt").symlink_to(tmp_path / source)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for option, name in (("--report", source), ("--json", source), ("--csv", "other name.txt")):
        with pytest.raises(InputError, match=rf"{name}: this run reads or writes that file already"):
            score_eval.main([*arguments, option, str(tmp_path / name)])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
