import csv
import datetime
import hashlib
import io
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
from countermeasure.evaluation import asvspoof, tables
from countermeasure.evaluation.asv import LA_EVAL
from countermeasure.evaluation.command import read_study, system_names
from countermeasure.evaluation.results import ATTACK, SPEAKER
from countermeasure.evaluation.study import run_study
from countermeasure.trials.score_files import CmScores, ModelsRecord, ScoreRecord, read_cm_scores, write_record
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER, MIN_DCF, MIN_TDCF_2019, evaluate

ROOT = Path(__file__).parents[1]
LA = ROOT.parent / "shared" / "data" / "asvspoof2019"
CM_FILE, ASV_FILE = LA / "B01_LA_primary_eval.txt", LA / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
needs_la = pytest.mark.skipif(not CM_FILE.exists(), reason="the ASVspoof 2019 LA score files are not on this machine")


def lines(seed=0, n=300, speakers=12, shift=2.0, noise=1.0):
    """Lines of a score file: three attacks, the third one hard to tell."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    voice = fixed.normal(0, 1, n)
    out = []
    for k in range(n):
        speaker, attack = f"LA_{k % speakers:04d}", ("-", "A01", "A02", "A03")[k // speakers % 4]
        mean = {"-": shift, "A01": -shift, "A02": -shift / 2, "A03": shift / 2}[attack]
        score = mean + voice[k] + rng.normal(0, noise)
        label = "bonafide" if attack == "-" else "spoof"
        out.append(f"{speaker} LA_E_{k} - {attack} {label} {score:.6f}\n")
    return out


@pytest.fixture
def file(tmp_path):
    def write(name="scores.txt", content=None, **kwargs):
        path = tmp_path / name
        path.write_text("".join(content or lines(**kwargs)))
        return path

    return write


def run(capsys, *arguments):
    status = score_eval.main([str(argument) for argument in arguments])
    return status, capsys.readouterr().out


def script(*arguments, env=None):
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=env)


# --- figures


@needs_la
def test_official_figures_in_the_plain_report(capsys):
    for source in (ASV_FILE, "asvspoof2019-la-eval"):
        _, out = run(capsys, "--cm_score", CM_FILE, "--asv_score", source)
        for figure in ("2.458 %", "-5.680051", "2.460 %", "2.458 %", "23.935 %", "9.572 %"):
            assert figure in out
        assert "min t-DCF (2019)      0.235936" in out
        _, out = run(capsys, "--cm_score", CM_FILE, "--asv_score", source, "--legacy", "False")
        assert "min t-DCF (revisited) 0.283868" in out
    _, out = run(capsys, "--cm_score", CM_FILE, "--json", "-")
    assert round(100 * json.loads(out)["systems"][0]["pooled"]["evaluation"]["eer"]["value"], 5) == 9.57203


# --- groups


def test_an_attack_stands_against_all_bona_fide_trials(file):
    scores = read_cm_scores(file())
    system = run_study({"s": scores}, LA_EVAL, by=[ATTACK]).systems[0]
    assert [group.name for group in system.groups(ATTACK)] == ["A01", "A02", "A03", "pooled"]
    for group in system.groups(ATTACK)[:-1]:
        assert group.evaluation
        spoof = scores.scores[scores.attacks == group.name.encode()]
        assert group.evaluation.eer.value == metrics.eer(scores.scores[scores.bonafide], spoof)[0]
    assert getattr(system.worst(ATTACK), "name", None) == "A03"


def test_an_attack_has_the_asv_rates_of_its_own(file):
    content = [line.replace(" A01 ", " A07 ").replace(" A02 ", " A17 ") for line in lines()]
    scores = read_cm_scores(file(content=content))
    study = run_study({"s": scores}, LA_EVAL, by=[ATTACK])
    by_name = {group.name: group for group in study.systems[0].groups(ATTACK)}
    rates = metrics.AsvRates(
        LA_EVAL.rates.eer, LA_EVAL.rates.threshold, LA_EVAL.rates.p_miss, LA_EVAL.rates.p_fa, 4571 / 4914
    )
    expected = evaluate(scores.scores[scores.bonafide], scores.scores[scores.attacks == b"A17"], rates)
    assert by_name["A17"].evaluation == expected
    assert any("the ASV scores have no A03;" in note for note in study.notes)


def test_a_speaker_stands_alone(file):
    content = [line for line in lines() if not (line.startswith("LA_0003") and "spoof" in line)]
    scores = read_cm_scores(file(content=content))
    study = run_study({"s": scores}, by=[SPEAKER], with_intervals=True)
    groups = {group.name: group for group in study.systems[0].groups(SPEAKER)}
    own = scores.speakers == b"LA_0000"
    expected = metrics.eer(scores.scores[own & scores.bonafide], scores.scores[own & ~scores.bonafide])[0]
    found = groups["LA_0000"].evaluation
    assert found
    assert found.eer.value == expected
    over_trials = intervals.Units("trials", np.arange(np.count_nonzero(own)))
    influences = intervals.influences(scores.scores[own], scores.bonafide[own], over_trials, {})
    assert groups["LA_0000"].intervals[EER] == intervals.interval(influences[EER])
    assert groups["LA_0003"].evaluation is None
    assert groups["LA_0003"].n_spoof == 0


# --- any column


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


def test_a_codec_stands_alone_and_crosses_with_attacks(file, capsys):
    path = file(content=by_codec())
    scores = read_cm_scores(path)
    study = read_study({"s": path}, by=["attack", "Codec"])
    system = study["s"]
    assert [group.name for group in system.groups("codec")] == ["alaw", "none", "pooled"]
    codecs = np.array([line.split()[2].encode() for line in by_codec()])
    for group in system.groups("attack", "codec")[:-1]:
        attack, codec = (value.encode() for value in group.values)
        bonafide = scores.scores[scores.bonafide & (codecs == codec)]
        spoof = scores.scores[(scores.attacks == attack) & (codecs == codec)]
        assert (group.n_bonafide, group.n_spoof) == (len(bonafide), len(spoof)) == (100, 50)
        assert group.evaluation == evaluate(bonafide, spoof)
        assert group.intervals[EER].low <= group.evaluation.eer.value <= group.intervals[EER].high
    eer, min_dcf, cllr = tables.by_group(study)
    assert (eer.caption, min_dcf.caption, cllr.caption) == tuple(
        f"s: {name} by attack and codec" for name in ("EER, %", "min DCF", "C_llr")
    )
    assert eer.header == [["attack", "alaw", "none", "pooled"]]
    whole = evaluate(scores.scores[scores.bonafide], scores.scores[~scores.bonafide])
    assert [row[0] for row in eer.rows] == ["A07", "A08", "pooled"]
    assert cllr.rows[-1][-1] == f"{whole.cllr:.2f}"
    assert eer.rows[0][-1] == f"{100 * system.groups('attack')[0].evaluation.eer.value:.1f}"
    assert eer.rows[-1][1] == f"{100 * system.groups('codec')[0].evaluation.eer.value:.1f}"
    _, out = run(capsys, "--cm_score", path, "--by", "codec", "--csv", "-")
    assert [(row["by"], row["group"]) for row in csv.DictReader(io.StringIO(out))] == [
        ("codec", "alaw"), ("codec", "none"), ("", "pooled"),
    ]  # fmt: skip


def test_tables_by_columns_of_several_systems(file, capsys):
    paths = [file("a.txt", by_codec()), file("b.txt", turned(by_codec()))]
    _, out = run(capsys, "--cm_score", *paths, "--by", "subset")
    for figure in ("EER, %", "min DCF", "C_llr"):
        assert f"{figure} by subset\nsubset" in out
    assert "Hardest subset for a: " in out
    _, out = run(capsys, "--cm_score", *paths, "--by", "attack", "codec")
    assert "a: EER, % by attack and codec" in out
    assert "b: C_llr by attack and codec" in out


def test_a_column_that_is_blank_for_bona_fide_speech_tells_spoofs_apart(file):
    """ASVspoof 2021 DF writes 'bonafide' as the vocoder of bona fide trials."""
    rng = np.random.default_rng(0)
    vocoders = ["bonafide", "traditional_vocoder", "unknown"]
    content = [
        f"S LA_E_{k} nocodec asvspoof A07 {'spoof' if k % 3 else 'bonafide'} notrim eval {vocoders[k % 3]} - - - - "
        f"{rng.normal():.3f}\n"
        for k in range(60)
    ]
    path = file(content=content)
    groups = read_study({"s": path}, by=["vocoder"])["s"].groups("vocoder")
    assert [(group.name, group.n_bonafide, group.n_spoof) for group in groups] == [
        ("traditional_vocoder", 20, 20), ("unknown", 20, 20), ("pooled", 20, 40),
    ]  # fmt: skip


def test_columns_of_asvspoof5_and_of_a_csv(file, tmp_path, capsys):
    """ASVspoof 5 writes '-' for speech without a codec, which is a condition like any other."""
    labels = ["bonafide", "spoof"]
    five = [
        f"E_{k % 7} E_{k} {'FM'[k // 2 % 2]} {('-', 'C01')[k // 4 % 2]} - - {('-', 'AC1')[k % 2]} "
        f"{('bonafide', 'A17')[k % 2]} {labels[k % 2]} - {k % 5}\n"
        for k in range(80)
    ]
    for column, names in (("codec", ["-", "C01"]), ("gender", ["F", "M"]), ("attack_tag", ["AC1"])):
        groups = read_study({"s": file(content=five)}, by=[column])["s"].groups(column)
        assert [group.name for group in groups] == [*names, "pooled"]
    protocol = tmp_path / "own.csv"
    protocol.write_text(
        "file,label,room\n"
        + "".join(f"{k}.wav,{labels[k % 2]},{'hall' if k // 2 % 2 else 'big office'}\n" for k in range(40))
    )
    scores = file("own.txt", [f"{k}.wav {k % 7}\n" for k in range(40)])
    _, out = run(capsys, "--cm_score", scores, "--protocol", protocol, "--by", "room")
    assert [line.split()[0] for line in out.split("own by room")[1].splitlines()[4:9] if line] == [
        "big%20office", "hall", "------------", "pooled",
    ]  # fmt: skip


def test_columns_of_the_real_recordings_of_2021(shared_data, file, capsys):
    """Its protocol names file and label: there is nothing to break figures down by, and the message says so."""
    protocol = shared_data / "asvspoof2021" / "protocol.csv"
    names = [line.split(",")[0] for line in protocol.read_text().splitlines()[1:]]
    scores = file(content=[f"{name} {k % 5}\n" for k, name in enumerate(names)])
    _, out = run(capsys, "--cm_score", scores, "--protocol", protocol)
    assert "32 trials, 16 bona fide and 16 spoof" in out
    with pytest.raises(InputError, match=r"protocol\.csv: its trials have no codec, only names; give a protocol"):
        run(capsys, "--cm_score", scores, "--protocol", protocol, "--by", "codec")


# --- intervals and comparisons


@pytest.mark.parametrize(("speakers", "over"), [(5, "5 speakers"), (4, "300 trials")])
def test_intervals_are_over_trials_where_there_are_too_few_speakers(file, capsys, speakers, over):
    _, out = run(capsys, "--cm_score", file(speakers=speakers), "--bootstrap")
    assert f"95 % intervals over {over}" in out
    assert ("intervals are over trials, for a class has fewer than 5 speakers" in out) == (speakers < 5)


def test_too_few_speakers_have_no_interval_over_them(file, capsys):
    arguments = ["--cm_score", file(speakers=4), "--bootstrap", "--bootstrap_over", "speakers", "--by", "attack"]
    _, out = run(capsys, *arguments)
    assert "95 % intervals over" not in out
    assert "Note: [-] too few speakers for an interval, which needs 5 of either class" in out
    pooled = next(line for line in out.splitlines() if line.startswith("pooled"))
    assert (pooled.count("["), pooled.count("[-]")) == (2, 2)


def test_trials_without_speakers_stand_for_themselves(file):
    unnamed = ["- " + line.split(" ", 1)[1] for line in lines(seed=1)]
    scores = {"named": read_cm_scores(file("a.txt")), "unnamed": read_cm_scores(file("b.txt", unnamed))}
    study = run_study(scores, with_intervals=True)
    assert [system.units.over for system in study.systems] == ["speakers", "trials"]
    assert any(note.startswith("unnamed: intervals are over trials, for not every trial names") for note in study.notes)
    assert {comparison.system for comparison in study.comparisons} == set()
    assert any("their files name different speakers" in note for note in study.notes)


def test_intervals_do_not_depend_on_the_order_of_lines(file):
    content = lines(n=120)
    first = read_cm_scores(file("a.txt", content))
    turned = read_cm_scores(file("b.txt", content[::-1]))
    for over in ("speakers", "trials"):
        a, b = (
            run_study({"s": scores}, with_intervals=True, intervals_over=over).systems[0].pooled.intervals
            for scores in (first, turned)
        )
        for figure in (EER, MIN_DCF):
            assert (a[figure].low, a[figure].high) == pytest.approx((b[figure].low, b[figure].high))


def test_a_clear_difference_is_told_from_noise(file):
    scores = {
        "base": read_cm_scores(file("a.txt", n=1200)),
        "same": read_cm_scores(file("b.txt", n=1200, seed=1)),
        "worse": read_cm_scores(file("c.txt", n=1200, seed=2, noise=6.0)),
    }
    study = run_study(scores, LA_EVAL, with_intervals=True)
    assert study.best.name == "base"
    same, worse, *costs = study.comparisons
    assert (same.system, worse.system, worse.reference) == ("same", "worse", "base")
    assert same.interval.low < 0 < same.interval.high
    assert same.p > 0.05
    assert worse.p < 0.05
    assert worse.interval.low > 0
    assert worse.difference == pytest.approx(
        study.systems[2].evaluation.eer.value - study.systems[0].evaluation.eer.value
    )
    assert {comparison.figure for comparison in costs} == {MIN_TDCF_2019}
    best, chance = tables.summary(study)
    assert best.startswith("base has the lowest EER of 3 systems: ")
    assert chance == f"May be chance: the difference in EER between base and same (p = {same.p:.3f})."
    rows = tables.comparisons(study).rows
    assert [row[0] for row in rows] == ["same", "worse"]
    assert rows[1][1] == f"{100 * worse.difference:+.2f}"
    both = run_study({name: scores[name] for name in ("base", "worse")}, with_intervals=True)
    assert (
        tables.summary(both)[1] == "Every other system's EER differs from that of base by more than chance (p < 0.05)."
    )


def test_other_trials_are_not_compared(file):
    scores = {"a": read_cm_scores(file("a.txt")), "b": read_cm_scores(file("b.txt", n=200))}
    study = run_study(scores, with_intervals=True)
    assert study.comparisons == ()
    worse, best = sorted(study.systems, key=lambda system: -system.evaluation.eer.value)
    assert study.notes == (f"{worse.name} is not compared with {best.name}: their files have different trials",)
    with pytest.raises(InputError, match="a is not compared with b: their files have different trials"):
        study.compare("a", "b")


def test_trials_with_contradicting_labels_are_not_compared(file):
    swap = {"bonafide": "spoof", "spoof": "bonafide"}
    words = [line.split() for line in lines()]
    swapped = [" ".join([*word[:4], swap[word[4]], word[5]]) + "\n" for word in words]
    one = [" ".join(word) + "\n" for word in words]
    one[7] = swapped[7]
    scores = {
        "a": read_cm_scores(file("a.txt")),
        "swapped": read_cm_scores(file("b.txt", swapped)),
        "one": read_cm_scores(file("c.txt", one[::-1])),
        "turned": read_cm_scores(file("d.txt", lines()[::-1])),
    }
    study = run_study(scores, with_intervals=True, reference="a")
    assert {comparison.system for comparison in study.comparisons} == {"turned"}
    assert "swapped is not compared with a: their files give 300 of 300 trials different labels, first LA_E_0" in (
        study.notes
    )
    assert "one is not compared with a: their files give 1 of 300 trials different labels, first LA_E_7" in study.notes


def test_the_best_is_chosen_by_the_same_scores(file):
    """A comparison with the best is one of all pairs, each of which could have been it; Holm's method by hand."""
    files = {name: read_cm_scores(file(f"{name}.txt", seed=k, noise=1 + k / 4)) for k, name in enumerate("abcd")}
    with_best, with_named = (run_study(files, with_intervals=True, reference=name) for name in (None, "d"))
    best = with_best.best.name
    assert best == min(files, key=lambda name: with_best[name].evaluation.eer.value)
    for study, name, n in ((with_best, best, 6), (with_named, "d", 3)):
        found = [comparison for comparison in study.comparisons if comparison.figure == EER]
        assert [comparison.system for comparison in found] == [other for other in files if other != name]
        assert {(comparison.reference, comparison.n_comparisons) for comparison in found} == {(name, n)}
    pairs = [*itertools.combinations("abcd", 2)]
    p = {pair: with_best.compare(*pair).p for pair in pairs}
    for one, other in pairs:
        assert with_best.compare(other, one).p == pytest.approx(p[one, other])
    corrected, largest = {}, 0.0
    for rank, pair in enumerate(sorted(p, key=p.get)):
        corrected[pair] = largest = max(largest, min(1, (6 - rank) * p[pair]))
    for comparison in with_best.comparisons[:3]:
        assert comparison.p == pytest.approx(corrected[tuple(sorted((comparison.system, best)))])


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


def test_a_study_of_score_files(file):
    paths = {"a": file("a-dev.txt"), "b": file("b-dev.txt", seed=1)}
    study = read_study(paths, LA_EVAL.source)
    assert study["b"].evaluation.min_tdcf(legacy=True).value == study["b"].evaluation.min_tdcf_2019.value
    assert study["a"].pooled.intervals[EER].low < study["a"].evaluation.eer.value
    comparison = study.compare("b", "a")
    assert comparison.difference == study["b"].evaluation.eer.value - study["a"].evaluation.eer.value
    assert comparison.is_significant == (comparison.p < 0.05)


def test_no_difference_is_called_none(file):
    scores = {name: read_cm_scores(file()) for name in "ab"}
    study = run_study(scores, with_intervals=True)
    assert tables.comparisons(study).rows == [
        ["b", *["+0.0", "[+0.0, +0.0]", "1.000"], "+0.00", "[+0.00, +0.00]", "1.000"]
    ]
    assert tables.summary(study)[1] == "May be chance: the difference in EER between a and b (p = 1.000)."


# --- thresholds from elsewhere


def test_threshold_of_a_development_set(file):
    dev, evaluated = read_cm_scores(file("dev.txt", seed=1)), read_cm_scores(file("eval.txt", seed=2))
    found = run_study({"s": evaluated}, threshold_from={"s": dev}).systems[0].applied
    assert [applied.rule for applied in found] == [EER, MIN_DCF]
    for applied in found:
        accepted = evaluated.scores > applied.threshold
        p_miss = np.mean(~accepted[evaluated.bonafide])
        p_fa = np.mean(accepted[~evaluated.bonafide])
        assert (applied.p_miss, applied.p_fa) == (p_miss, p_fa)
        assert applied.dcf == pytest.approx(1.9 * p_miss + p_fa)
    assert found[0].threshold == metrics.eer(dev.scores[dev.bonafide], dev.scores[~dev.bonafide])[1]


def test_a_threshold_has_the_error_rates_of_the_figure_it_belongs_to(capsys, file):
    scores = file(content=["a A01 spoof 0\n", "b A01 spoof 1\n", "c - bonafide 2\n", "d - bonafide 3\n"])
    _, out = run(capsys, "--cm_score", scores, "--threshold_from", scores, "--json", "-")
    system = json.loads(out)["systems"][0]
    assert system["pooled"]["evaluation"]["eer"] == {"value": 0, "threshold": 1, "p_miss": 0, "p_fa": 0}
    for applied in system["threshold_from"]:
        rates = (applied[name] for name in ("expected_p_miss", "expected_p_fa", "p_miss", "p_fa", "dcf"))
        assert [*rates] == [0, 0, 0, 0, 0]
    _, out = run(capsys, "--cm_score", scores, "--threshold_from", scores)
    assert out.count("1.000000        0.0      0.0        0.0      0.0  0.00") == 2


def test_minima_keep_their_error_rates_at_ties(capsys, file):
    """Scores in steps: what a minimum says of its threshold is what that threshold does."""
    content = [f"{' '.join(line.split()[:-1])} {float(line.split()[-1]):.0f}\n" for line in lines()]
    scores = file(content=content)
    _, out = run(capsys, "--cm_score", scores, "--threshold_from", scores, "--json", "-")
    system = json.loads(out)["systems"][0]
    found, applied = system["pooled"]["evaluation"]["min_dcf"], system["threshold_from"][1]
    assert (applied["threshold"], applied["p_miss"], applied["p_fa"]) == (
        found["threshold"], pytest.approx(found["p_miss"]), pytest.approx(found["p_fa"])
    )  # fmt: skip
    assert applied["dcf"] == pytest.approx(found["value"])


# --- the script


def test_an_asv_system_that_rejects_every_spoof_leaves_the_eer(capsys, file):
    asv = file("asv.txt", [f"A01 {key} {s}\n" for key, s in (("target", 3), ("nontarget", 1), ("spoof", 0))])
    plain = json.loads(run(capsys, "--cm_score", file(), "--json", "-")[1])["systems"][0]["pooled"]["evaluation"]
    _, out = run(
        capsys, "--cm_score", file(), file("b.txt", seed=1), "--asv_score", asv, "--by", "attack", "--json", "-"
    )
    content = json.loads(out)
    assert content["systems"][0]["pooled"]["evaluation"] == plain
    assert any("rejects every spoof" in note for note in content["notes"])
    status, out = run(capsys, "--cm_score", file(), "--asv_score", asv)
    assert status == 0
    assert f"{100 * plain['eer']['value']:.1f} %" in out
    assert "100.000 %   spoofs rejected" in out
    assert "No min t-DCF" in out


def test_the_older_suites_asv_file_stands_for_its_rates(capsys, file, tmp_path):
    absent = tmp_path / "tDCF_python" / "scores" / "ASVspoof2019_LA_eval_asv_scores.txt"
    scores = file()
    assert score_eval.main(["--cm_score", str(scores), "--asv_score", str(absent)]) == 0
    told = capsys.readouterr()
    assert told.err.startswith(f"{absent}: no such file; its known error rates are taken (asvspoof2019-la-eval)\n")
    assert told.out == run(capsys, "--cm_score", scores, "--asv_score", "asvspoof2019-la-eval")[1]
    # Where it is there, it is read.
    there = file(absent.name, ["S U - A01 target 3\n", "S U - A01 nontarget 1\n", "S U - A01 spoof 2\n"])
    assert "asvspoof2019-la-eval" not in run(capsys, "--cm_score", scores, "--asv_score", there)[1]


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-"])
def test_a_closed_output_is_no_crash(file, tmp_path, redirection):
    out = tmp_path / "out.json"
    command = f'"{sys.executable}" score_eval.py --cm_score "{file()}" --json "{out}" {redirection}'
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
    assert json.loads(out.read_text())["systems"][0]["name"] == "scores"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_tables_in_any_encoding(file, encoding):
    done = script("score_eval.py", "--cm_score", file(), env={**os.environ, "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)


def test_names_that_are_no_utf8(file, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    odd = tmp_path / os.fsdecode(b"caf\xe9.txt")
    odd.write_bytes(file().read_bytes())
    outputs = [tmp_path / os.fsdecode(b"out\xe9" + ending) for ending in (b".json", b".csv", b".html", b"")]
    options = [word for pair in zip(("--json", "--csv", "--report", "--plot"), outputs, strict=True) for word in pair]
    done = script("score_eval.py", "--cm_score", odd, *options)
    assert done.returncode == 0
    assert "caf\\udce9" in done.stdout
    content = json.loads(outputs[0].read_text(encoding="utf-8"))
    assert os.fsencode(content["systems"][0]["cm_score"]) == os.fsencode(odd)
    for path in outputs[1:3]:
        assert "caf\\udce9" in path.read_text(encoding="utf-8")
    assert len(list(outputs[3].iterdir())) == 10


def test_several_files_make_one_table(capsys, file):
    status, out = run(
        capsys, "--cm_score", file("a.txt"), file("b.txt", seed=1), "--name", "A", "B", "--asv_score", LA_EVAL.source
    )
    assert status == 0
    header = out.splitlines()[1]
    for word in ("EER", "min t-DCF", "min DCF", "act. DCF", "C_llr"):
        assert word in header
    assert out.startswith("300 trials, 84 bona fide and 216 spoof; * best\n")
    assert "trials" not in header  # they are the same for all
    assert "2019" in out
    assert "revisited" in out
    assert [line.split()[0] for line in out.splitlines()[4:6]] == ["A", "B"]
    assert out.count("EER=step") == 1
    assert out.splitlines()[-1].endswith(f"|suite={__version__}")
    assert out.splitlines()[-2].strip("-") == ""


def test_without_asv_scores_it_says_what_is_missing(capsys, file):
    for arguments in ([file("a.txt")], [file("a.txt"), file("b.txt", seed=1)]):
        status, out = run(capsys, "--cm_score", *arguments)
        assert status == 0
        assert out.count("For min t-DCF give the ASV system's scores: --asv_score FILE, or asvspoof2019-la-eval") == 1
        assert "2019 " not in out.replace("asvspoof2019", "")  # no column without a value


def test_same_file_names_are_told_apart(capsys, file, tmp_path):
    (tmp_path / "x").mkdir()
    _, out = run(capsys, "--cm_score", file("a.txt"), file("x/a.txt", seed=1))
    assert str(tmp_path / "x" / "a.txt") in out


def turned(content):
    return [f"{' '.join(line.split()[:-1])} {-float(line.split()[-1])}\n" for line in content]


CAUSES = ["bona fide and spoof are swapped, in the models", "the scores' sign is turned"]


@pytest.mark.parametrize("with_intervals", [[], ["--bootstrap"]])
def test_hint_at_scores_that_are_worse_than_chance(capsys, file, with_intervals):
    _, out = run(capsys, "--cm_score", file("right.txt"), *with_intervals)
    assert "worse than chance" not in out
    eer = 100 * read_study({"s": file("right.txt")})["s"].evaluation.eer.value
    _, out = run(capsys, "--cm_score", file(content=turned(lines())), *with_intervals)
    (note,) = [line for line in out.splitlines() if "worse than chance" in line]
    assert note.startswith("Note: scores: EER above 50 %, worse than chance. Likely causes, the likeliest first: (1) ")
    places = [note.index(f"({k}) {cause}") for k, cause in enumerate(CAUSES, 1)]
    assert places == sorted(places)
    assert "by heart" not in note
    assert note.endswith(f"With the scores' sign turned the EER would be about {eer:.1f} %")


def test_an_eer_that_is_above_50_by_chance_gets_no_hint(capsys, file):
    """Scores that tell nothing: half of such sets have an EER above 50 %."""
    rng = np.random.default_rng(1)
    content = [f"S{k % 20} U{k} - {('A01 spoof', '- bonafide')[k % 2]} {rng.normal():.4f}\n" for k in range(100)]
    study = read_study({"s": file(content=content)})
    assert 0.5 < study["s"].evaluation.eer.value < 0.6
    assert study.notes == ()


@pytest.mark.parametrize(
    ("models", "cause"),
    [
        (
            ModelsRecord("gmm", "file scores", [60, 60], [120, 280]),
            "the fusion learnt the training files by heart, 60 components over 120 files: train with fewer "
            "--n_components or --method logistic",
        ),
        (
            ModelsRecord("gmm", "features", [64, 64], [90_000, 3_000]),
            "the models learnt the training frames by heart, 64 components over 3000 frames: train with fewer "
            "--n_components",
        ),
        (ModelsRecord("gmm", "file scores", [1, 1], [60, 280]), None),
        (ModelsRecord("logistic", "file scores", [0, 0], [120, 280]), None),
        (None, None),
    ],
)
def test_a_fusion_that_learnt_its_files_by_heart_is_the_first_cause(capsys, file, models, cause):
    path = file(content=turned(lines()))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    write_record(path, ScoreRecord(sha256, "0" * 64, "eval", ["mfcc", "lfcc"], models))
    _, out = run(capsys, "--cm_score", path)
    causes = [cause, *CAUSES] if cause else CAUSES
    places = [out.index(f"({k}) {text}") for k, text in enumerate(causes, 1)]
    assert places == sorted(places)
    assert f"({len(causes) + 1})" not in out
    assert ("by heart" in out) == bool(cause)


def test_equal_scores_are_no_turned_sign(capsys, file):
    _, out = run(capsys, "--cm_score", file(content=["a - bonafide 1\n", "b A01 spoof 1\n"]))
    assert "all scores are equal" in out
    assert "sign" not in out


def test_two_fields_with_a_protocol(capsys, file):
    content = lines()
    protocol = file("protocol.txt", [" ".join(line.split()[:-1]) + "\n" for line in content])
    short = file("short.txt", [f"{line.split()[1]} {line.split()[-1]}\n" for line in content[:-1]])
    full = file("full.txt", content[:-1])
    _, expected = run(capsys, "--cm_score", full, "--by", "attack", "--name", "s")
    _, out = run(capsys, "--cm_score", short, "--by", "attack", "--name", "s", "--protocol", protocol)
    assert out.split("Note:")[0].rstrip() == expected.split("-" * 72)[0].rstrip()
    assert "1 trials of the protocol have no score" in out


def test_json_and_csv_say_what_the_report_says(capsys, file, tmp_path):
    scores = file()
    out_json, out_csv = tmp_path / "new" / "a.json", tmp_path / "new" / "a.csv"
    run(capsys, "--cm_score", scores, "--asv_score", LA_EVAL.source, "--by", "attack", "--bootstrap",
        "--json", out_json, "--csv", out_csv)  # fmt: skip
    content = json.loads(out_json.read_text())
    cm = read_cm_scores(scores)
    expected = evaluate(cm.scores[cm.bonafide], cm.scores[~cm.bonafide], LA_EVAL.rates)
    assert expected.min_tdcf_2019
    pooled = content["systems"][0]["pooled"]
    assert pooled["evaluation"]["min_tdcf_2019"]["value"] == expected.min_tdcf_2019.value
    assert pooled["intervals"]["eer"]["low"] <= expected.eer.value <= pooled["intervals"]["eer"]["high"]
    rows = list(csv.DictReader(io.StringIO(out_csv.read_text())))
    assert [row["group"] for row in rows] == ["A01", "A02", "A03", "pooled"]
    assert float(rows[-1]["eer"]) == expected.eer.value
    assert float(rows[-1]["eer_low"]) == pooled["intervals"]["eer"]["low"]
    assert content["systems"][0]["signature"].endswith(f"|suite={__version__}")


def test_json_on_standard_output(capsys, file):
    _, out = run(capsys, "--cm_score", file(), "--json", "-")
    assert json.loads(out)["systems"][0]["name"] == "scores"


def test_signature_names_what_moves_a_figure(file):
    scores = read_cm_scores(file())
    study = run_study({"s": scores}, LA_EVAL, with_intervals=True)
    line = study.signature(study.systems[0])
    for part in ("P_spoof:0.05", "C_fa:10", scores.sha256[:12], "trials=", "over:12 speakers", __version__):
        assert part in line


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (["a - bonafide 1\n"], [], "no spoof trial in it"),
        (["a A01 spoof 1\n"], [], "no bona fide trial in it"),
        (["a - bonafide nan\n"], [], "not finite"),
        (["a 1\n"], [], "--protocol"),
        (["a - bonafide 1\n", "b A01 spoof 0\n"], ["--by", "speaker"], "no trial names its speaker"),
        (
            ["a - bonafide 1\n", "b A01 spoof 0\n"],
            ["--bootstrap", "--bootstrap_over", "speakers"],
            "trials that name them",
        ),
        (["a - bonafide 1e308\n", "b A01 spoof 0\n"], ["--bootstrap"], "score 1e.308 of a is beyond ±1e.100"),
        (["a - bonafide 0\n", "b A01 spoof -1e308\n"], ["--json", "-"], "score -1e.308 of b is beyond"),
        (["a - bonafide 1\n", "b A01 spoof 0\n"], ["--name", "x", "y"], "2 names for 1 score files"),
        (["a - bonafide 1\n", "b A01 spoof 0\n"], ["--by", "codec"], "its trials have no codec, only attack; give"),
        (["a - bonafide 1\n", "b A01 spoof 0\n"], ["--by", "attack", "speaker", "label"], "give one column, or two"),
        (["a - bonafide 1\n", "b A01 spoof 0\n"], ["--threshold_from", "x", "y"], "2 files for 1 systems"),
        (
            ["a - bonafide 1\n", "b A01 spoof 0\n"],
            ["--reference", "x"],
            "--reference x: no such system; give one of sc",
        ),
    ],
)
def test_wrong_calls(file, content, arguments, message):
    with pytest.raises(InputError, match=message):
        score_eval.main(["--cm_score", str(file(content=content)), *arguments])


@pytest.mark.parametrize("option", ["--cm_score", "--threshold_from", "--asv_score"])
def test_files_that_are_not_there_and_folders_say_what_to_give(file, tmp_path, option):
    absent = tmp_path / "scores" / "asv.txt"
    arguments = ["--cm_score", str(file())] if option != "--cm_score" else []
    is_asv = option == "--asv_score"
    known = r"give asvspoof2019-la-eval, or a file that tDCF_python/scores/README\.md names$"
    with pytest.raises(
        InputError, match=known if is_asv else "no such file; gmm_test.py writes score files$"
    ) as caught:
        score_eval.main([*arguments, option, str(absent)])
    assert str(caught.value).startswith(f"{absent}: no such file; ")
    with pytest.raises(InputError, match=known if is_asv else r"give score files, .*/\*\.txt for instance$") as caught:
        score_eval.main([*arguments, option, str(tmp_path)])
    assert str(caught.value).startswith(f"{tmp_path}: is a folder; ")


@pytest.mark.parametrize("number", ["-1", "x", "1.5"])
def test_numbers_after_bootstrap_are_integers_from_0_on(file, capsys, number):
    with pytest.raises(SystemExit, match="2"):
        score_eval.main(["--cm_score", str(file()), "--bootstrap", number])
    assert f"argument --bootstrap: {number!r} is no integer from 0 on" in capsys.readouterr().err


def test_numbers_of_old_commands_make_no_difference(file, capsys):
    plain, *others = (
        run(capsys, "--cm_score", file(), *options)[1]
        for options in (["--bootstrap"], ["--bootstrap", "10", "--seed", "3"], [], ["--bootstrap", "0"])
    )
    assert plain == others[0] != others[1] == others[2]


@pytest.mark.parametrize("source", ["cm.txt", "asv.txt", "protocol.txt", "dev.txt"])
def test_what_is_read_is_not_written_over(file, tmp_path, source):
    content = lines(n=60)
    asv = [f"A01 {key} {score}\n" for key, score in (("target", 3), ("nontarget", 0), ("spoof", 1), ("target", 2))]
    arguments = ["--cm_score", file("cm.txt", content), "--asv_score", file("asv.txt", asv)]
    arguments += ["--protocol", file("protocol.txt", [" ".join(line.split()[:-1]) + "\n" for line in content])]
    arguments += ["--threshold_from", file("dev.txt", content), "--plot", tmp_path / "plots"]
    (tmp_path / "other name.txt").symlink_to(tmp_path / source)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for option, name in (("--report", source), ("--json", source), ("--csv", "other name.txt")):
        with pytest.raises(InputError, match=rf"{name}: this run reads or writes that file already"):
            score_eval.main([*map(str, arguments), option, str(tmp_path / name)])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "a", "--csv", "./a"], "a: two outputs of this name"),
        (["--report", "a", "--plot", "a"], "a: two outputs of this name"),
        (["--plot", "scores.txt"], r"scores\.txt: is a file; give the name of a folder for the pictures"),
        (["--report", "folder"], "folder: is a folder; give the name of a file"),
    ],
)
def test_names_for_outputs_are_looked_at_before_any_work(file, tmp_path, monkeypatch, options, message):
    file()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=message):  # nothing has been read yet: the other file's absence is not told
        score_eval.main(["--cm_score", "scores.txt", "absent.txt", *options])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "scores.txt"]


def test_the_script(file):
    done = script("score_eval.py", "--cm_score", file())
    assert done.returncode == 0, done.stderr
    assert "EER" in done.stdout
    missing = script("score_eval.py", "--cm_score", "nowhere.txt")
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "nowhere.txt" in missing.stderr


def test_help_needs_no_numpy():
    code = "import sys, score_eval; score_eval.build_parser().format_help(); sys.exit('numpy' in sys.modules)"
    assert script("-c", code).returncode == 0
    assert "higher score = bona fide" in score_eval.build_parser().format_help().replace("\n" + " " * 24, " ")


def test_plain_report_loads_neither_scipy_nor_matplotlib(file):
    code = (
        "import sys, score_eval; score_eval.main(sys.argv[1:]); "
        "sys.exit('scipy' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert script("-c", code, "--cm_score", file(), "--by", "attack").returncode == 0


@needs_la
def test_known_figures_by_attack():
    """A17 is the attack that B01 and the ASV system both miss; figures counted with sorted lists."""
    scores = read_cm_scores(CM_FILE)
    groups = {group.name: group for group in run_study({"B01": scores}, by=[ATTACK])["B01"].groups(ATTACK)}
    bonafide = np.sort(scores.scores[scores.bonafide])
    for attack in ("A10", "A17"):
        spoof = np.sort(scores.scores[scores.attacks == attack.encode()])
        p_miss = np.searchsorted(bonafide, spoof, "right") / len(bonafide)
        p_fa = 1 - np.arange(1, len(spoof) + 1) / len(spoof)
        at = np.argmin(np.abs(p_miss - p_fa))
        expected = (p_miss[at] + p_fa[at]) / 2
        found = groups[attack].evaluation
        assert found
        assert found.eer.value == pytest.approx(expected, abs=1 / len(spoof))


def test_scores_are_a_value():
    empty = np.zeros(2, "S1")
    scores = CmScores("x", "0", np.array([b"a", b"b"]), np.array([1.0, 0.0]), np.array([True, False]), empty, empty)
    assert run_study({"s": scores}).systems[0].evaluation.eer.value == 0


# --- what is known of the data


@needs_la
def test_attacks_of_asvspoof_2019_are_explained(capsys):
    _, out = run(capsys, "--cm_score", CM_FILE, "--by", "attack")
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("A")}
    assert rows["A07"].endswith("TTS, WORLD vocoder and GAN")
    assert rows["A17"].endswith("VC, waveform filtering")
    assert asvspoof.data_set(read_cm_scores(CM_FILE)) == "ASVspoof 2019 LA, eval"


def test_attacks_of_other_corpora_are_not_explained(file):
    """They have other attacks under the same ids, and names of the same form."""
    scores = read_cm_scores(file())
    assert set(scores.attacks.tolist()) == {b"", b"A01", b"A02", b"A03"}
    assert asvspoof.attacks(scores) == {}
    as_in_2019 = read_cm_scores(file(content=[line.replace(" A01 ", " A07 ") for line in lines()]))
    assert asvspoof.attacks(as_in_2019)["A07"] == "TTS, WORLD vocoder and GAN"
    elsewhere = read_cm_scores(
        file(content=[line.replace(" A01 ", " A07 ").replace("LA_E_", "E_") for line in lines()])
    )
    assert asvspoof.attacks(elsewhere) == {}
    assert asvspoof.data_set(scores) is None


def test_the_report_says_what_it_is_of_and_what_it_found(file, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    names = ["a-eval.txt", "b-eval.txt", "c-eval.txt"]
    files = [file(name, seed=k, noise=1 + 2 * k) for k, name in enumerate(names)]
    outputs = ["--report", tmp_path / "report.html", "--plot", tmp_path / "plots"]
    assert score_eval.main([str(word) for word in ("--cm_score", *files, *outputs)]) == 0
    out, err = capsys.readouterr()
    assert f"report: {tmp_path / 'report.html'}\n" in err
    assert f"pictures in {tmp_path / 'plots'}: det.png, " in err
    page = (tmp_path / "report.html").read_text()
    assert f'<p class="soft">{datetime.date.today().isoformat()}; 300 trials, ' in page
    assert "a has the lowest EER of 3 systems: " in page
    assert "Compared with a, the best: 95 % interval of the difference, paired; p corrected for 3 comparisons" in page
    best = re.search(r"^a +(\S+)\*", out, re.MULTILINE)
    assert best
    assert f"<td>a</td><td><b>{best[1]}</b></td>" in page
    assert page.count("cm=a-eval.txt,sha256:") == 1
    assert "cm=" not in out  # signatures of the files are in the report
