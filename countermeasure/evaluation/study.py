"""Several systems evaluated together: groups of trials, intervals, comparisons, thresholds from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from countermeasure import __version__
from countermeasure.errors import InputError
from countermeasure.evaluation.asv import AsvSystem
from countermeasure.trials.score_files import CmScores
from tDCF_python import metrics, resampling
from tDCF_python.defaults import FEWEST_SPEAKERS
from tDCF_python.evaluation import EER, MIN_DCF, Evaluation, cost_functions, evaluate, tdcf_name
from tDCF_python.metrics import COSTS, AsvRates, Costs
from tDCF_python.resampling import Interval, Resampling, Units

POOLED = "pooled"
ATTACK = "attack"
SPEAKER = "speaker"
# No detector's score is beyond; sums and pictures of what is would overflow.
_LARGEST_SCORE = 1e100


@dataclass(frozen=True)
class Group:
    """The figures of all trials, of one attack or of one speaker.

    Attributes
    ----------
    kind : {'pooled', 'attack', 'speaker'}
    name : str
    n_bonafide, n_spoof : int
        An attack's spoofs stand against all bona fide trials, a speaker's against the speaker's.
    evaluation : Evaluation or None
        None where a class is empty.
    intervals : mapping from a figure's name in `Evaluation` to Interval
        Empty where nothing was resampled.
    """

    kind: str
    name: str
    n_bonafide: int
    n_spoof: int
    evaluation: Evaluation | None
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class AppliedThreshold:
    """A threshold that one set of scores gave, and the error rates of another at it.

    Attributes
    ----------
    rule : {'eer', 'min_dcf'}
        The figure whose threshold it is.
    threshold : float
    expected_p_miss, expected_p_fa : float
        Error rates on the set that gave the threshold.
    p_miss, p_fa : float
        Error rates on the evaluated set: accepted is what scores above the threshold.
    dcf : float
        Normalised DCF on the evaluated set.
    source, sha256 : str
        The file that gave the threshold.
    """

    rule: str
    threshold: float
    expected_p_miss: float
    expected_p_fa: float
    p_miss: float
    p_fa: float
    dcf: float
    source: str
    sha256: str


@dataclass(frozen=True)
class SystemResult:
    """All results of one system.

    Attributes
    ----------
    name : str
    scores : CmScores
        What was evaluated.
    pooled : Group
    attacks, speakers : tuple of Group
        Empty where they were not asked for.
    applied : tuple of AppliedThreshold
    resampling : Resampling or None
    replicates : mapping from a figure's name to ndarray, shape [n_replicates]
        Of the pooled figures.
    """

    name: str
    scores: CmScores
    pooled: Group
    attacks: tuple[Group, ...]
    speakers: tuple[Group, ...]
    applied: tuple[AppliedThreshold, ...]
    resampling: Resampling | None
    replicates: Mapping[str, metrics.Floats] = field(repr=False)

    @property
    def evaluation(self) -> Evaluation:
        """Figures of all trials."""
        if self.pooled.evaluation is None:  # `evaluate_system` does not make such a result
            raise InputError(f"{self.scores.path}: no figures, for a class is empty")
        return self.pooled.evaluation

    def groups(self, kind: str) -> tuple[Group, ...]:
        """Return the groups of one kind, the pooled one last; none if they were not asked for."""
        groups = self.attacks if kind == ATTACK else self.speakers
        return (*groups, self.pooled) if groups else ()

    def worst(self, kind: str) -> Group | None:
        """Return the group of one kind with the highest EER."""
        groups = [group for group in self.groups(kind)[:-1] if group.evaluation]
        return max(groups, key=lambda group: group.evaluation.eer.value if group.evaluation else 0, default=None)


@dataclass(frozen=True)
class Comparison:
    """Whether a system differs from the first one by more than chance.

    Attributes
    ----------
    reference, system : str
        Names of the two.
    figure : str
        What is compared, by its name in `Evaluation`.
    difference : float
        `system` minus `reference`; below 0, `system` is better.
    interval : Interval
    p : float
        Two-sided, corrected for the number of comparisons of this figure.
    n_comparisons : int
    """

    reference: str
    system: str
    figure: str
    difference: float
    interval: Interval
    p: float
    n_comparisons: int


@dataclass(frozen=True)
class Study:
    """Results of several systems.

    Attributes
    ----------
    systems : tuple of SystemResult
    comparisons : tuple of Comparison
        Each further system against the first.
    asv : AsvSystem or None
    legacy : bool
        Which t-DCF is meant where only one is shown.
    costs : Costs
    notes : tuple of str
        What a reader has to know about these results.
    """

    systems: tuple[SystemResult, ...]
    comparisons: tuple[Comparison, ...]
    asv: AsvSystem | None
    legacy: bool
    costs: Costs
    notes: tuple[str, ...]

    @property
    def rates(self) -> AsvRates | None:
        """Rates for the t-DCF; None without a verification system, or with one whose rates leave it without meaning."""
        return _meaningful(self.asv.rates) if self.asv else None


def run_study(
    systems: Mapping[str, CmScores],
    asv: AsvSystem | None = None,
    *,
    legacy: bool = True,
    by: Sequence[str] = (),
    bootstrap: int = 0,
    bootstrap_over: str | None = None,
    seed: int = 0,
    threshold_from: Mapping[str, CmScores] | None = None,
    costs: Costs = COSTS,
    watch: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Study:
    """Evaluate systems, each on its own and further ones against the first.

    Parameters
    ----------
    systems : mapping from name to CmScores
    asv : AsvSystem, optional
        Without it there is no t-DCF.
    legacy : bool
        Which t-DCF is compared, and shown where there is room for one.
    by : sequence of {'attack', 'speaker'}
        What to break the figures down by.
    bootstrap : int
        Resampled sets for intervals and comparisons; 0: neither.
    bootstrap_over : {'speakers', 'trials'}, optional
        What is drawn; by default speakers, where there are enough.
    seed : int
    threshold_from : mapping from system to CmScores, optional
        Scores, of a development set for instance, whose thresholds are applied.
    costs : Costs
    watch : callable, optional
        Passes the systems' names on as they are worked on, to show how far the work is.

    Raises
    ------
    InputError
        When a system has no trial of a class or a score beyond ±1e100, when groups are asked for that
        no trial names, or speakers cannot be drawn.
    """
    usable = asv if asv and _meaningful(asv.rates) else None
    results = tuple(
        evaluate_system(
            name,
            systems[name],
            usable,
            by=by,
            bootstrap=bootstrap,
            bootstrap_over=bootstrap_over,
            seed=seed,
            threshold_from=(threshold_from or {}).get(name),
            costs=costs,
        )
        for name in watch(list(systems))
    )
    comparable, notes = _comparable(results)
    if asv and not usable:
        notes.append(_why_no_tdcf(asv))
    comparisons = [
        comparison
        for figure in (EER, tdcf_name(legacy) if usable else MIN_DCF)
        for comparison in _compare(results[0], comparable, figure)
    ]
    least = bootstrap and resampling.least_p(bootstrap) * len(comparable)
    if comparable and least >= 1 - resampling.LEVEL:
        notes.append(
            f"p of {len(comparable)} comparisons cannot fall below {least:.3f} with {bootstrap} resampled sets; "
            "take more (--bootstrap), or fewer systems"
        )
    every_note = [note for result in results for note in _notes(result, usable)]
    if bootstrap_over is None:
        every_note += _notes_on_draws(results)
    return Study(results, tuple(comparisons), asv, legacy, costs, (*dict.fromkeys(every_note), *notes))


def evaluate_system(
    name: str,
    scores: CmScores,
    asv: AsvSystem | None = None,
    *,
    by: Sequence[str] = (),
    bootstrap: int = 0,
    bootstrap_over: str | None = None,
    seed: int = 0,
    threshold_from: CmScores | None = None,
    costs: Costs = COSTS,
) -> SystemResult:
    """Evaluate one system; parameters and errors are those of `run_study`."""
    _refuse_unusable(scores)
    units, plan = None, None
    if bootstrap:
        units = resampling.choose_units(scores.speakers, scores.utterances, bootstrap_over)
        plan = Resampling(units.over, int(units.codes.max()) + 1, bootstrap, seed)
    everything = np.ones(len(scores.scores), bool)
    rates = asv.rates if asv else None
    pooled, replicates = _group(POOLED, POOLED, scores, everything, rates, units, plan, costs)
    groups = {
        kind: tuple(
            _group(kind, group, scores, trials, group_rates, units, plan, costs)[0]
            for group, trials, group_rates in _members(scores, kind, asv)
        )
        if kind in by
        else ()
        for kind in (ATTACK, SPEAKER)
    }
    applied = _applied(scores, threshold_from, costs) if threshold_from else ()
    return SystemResult(name, scores, pooled, groups[ATTACK], groups[SPEAKER], applied, plan, replicates)


def signature(system: SystemResult, study: Study) -> str:
    """Return one line with everything that can move a system's figures."""
    c = study.costs
    drawn = system.resampling
    parts = [
        "EER=step",
        f"t-DCF=2019+revisited,shown:{'2019' if study.legacy else 'revisited'}" if study.asv else None,
        f"DCF=ASVspoof5,P_spoof:{c.p_spoof:g},P_tar:{c.p_target:g},P_non:{c.p_nontarget:g},"
        f"C_miss:{c.c_miss:g},C_fa:{c.c_fa:g}",
        f"cm={Path(system.scores.path).name},sha256:{system.scores.sha256[:12]}",
        f"trials={system.pooled.n_bonafide}+{system.pooled.n_spoof}",
        f"asv={study.asv.source}" if study.asv else None,
        f"threshold_from=sha256:{system.applied[0].sha256[:12]}" if system.applied else None,
        f"bootstrap={drawn.n_replicates},over:{drawn.n_units} {drawn.over},seed:{drawn.seed}" if drawn else None,
        f"suite={__version__}",
    ]
    return "|".join(part for part in parts if part)


def _group(
    kind: str,
    name: str,
    scores: CmScores,
    trials: npt.NDArray[np.bool_],
    asv: AsvRates | None,
    units: Units | None,
    plan: Resampling | None,
    costs: Costs,
) -> tuple[Group, dict[str, metrics.Floats]]:
    """Return the figures of some of a file's trials, and their replicates."""
    values, bonafide = scores.scores[trials], scores.bonafide[trials]
    n_bonafide = int(np.count_nonzero(bonafide))
    n_spoof = len(values) - n_bonafide
    if not n_bonafide or not n_spoof:
        return Group(kind, name, n_bonafide, n_spoof, None, {}), {}
    evaluation = evaluate(values[bonafide], values[~bonafide], asv, costs)
    replicates: dict[str, metrics.Floats] = {}
    if units and plan:
        # One speaker alone leaves nothing to draw but trials.
        drawn = Units(resampling.TRIALS, np.arange(len(values))) if kind == SPEAKER else units.of(trials)
        replicates = resampling.replicates(
            values,
            bonafide,
            drawn,
            cost_functions(asv, costs),
            plan.n_replicates,
            plan.seed,
        )
    intervals = {figure: resampling.interval(drawn) for figure, drawn in replicates.items()}
    return Group(kind, name, n_bonafide, n_spoof, evaluation, intervals), replicates


def _members(
    scores: CmScores, kind: str, asv: AsvSystem | None
) -> list[tuple[str, npt.NDArray[np.bool_], AsvRates | None]]:
    """Return name, trials and verification system's rates of each attack or speaker."""
    names = scores.attacks if kind == ATTACK else scores.speakers
    members: list[tuple[str, npt.NDArray[np.bool_], AsvRates | None]] = []
    for name in np.unique(names[names != b""]):
        trials = names == name
        rates = asv.rates if asv else None
        if kind == ATTACK:
            trials = trials | scores.bonafide
            rates = _meaningful(asv.against(name.decode())) if asv else None
        members.append((name.decode(), trials, rates))
    if not members:
        raise InputError(f"{scores.path}: no trial names its {kind}; leave out --by {kind}")
    return members


def _meaningful(rates: AsvRates) -> AsvRates | None:
    """Return None for rates that leave the t-DCF without meaning, those of an attack that never passes for instance."""
    try:
        cost_functions(rates)
    except InputError:
        return None
    return rates


def _why_no_tdcf(asv: AsvSystem) -> str:
    try:
        cost_functions(asv.rates)
    except InputError as error:
        return str(error)
    return ""


def _applied(scores: CmScores, source: CmScores, costs: Costs) -> tuple[AppliedThreshold, ...]:
    _refuse_unusable(source)
    found = evaluate(source.scores[source.bonafide], source.scores[~source.bonafide], None, costs)
    cost = metrics.dcf(costs)
    applied = []
    for rule, point in ((EER, found.eer), (MIN_DCF, found.min_dcf)):
        # Recounted on both sets by the same rule, for the two to be compared.
        expected = metrics.rates_at(point.threshold, source.scores[source.bonafide], source.scores[~source.bonafide])
        seen = metrics.rates_at(point.threshold, scores.scores[scores.bonafide], scores.scores[~scores.bonafide])
        applied.append(
            AppliedThreshold(rule, point.threshold, *expected, *seen, cost(*seen), source.path, source.sha256)
        )
    return tuple(applied)


def _comparable(results: Sequence[SystemResult]) -> tuple[list[SystemResult], list[str]]:
    """Return the further systems that have the first one's trials, labels and draws, and why others have not."""
    first, *others = results
    comparable, notes = [], []
    order = np.argsort(first.scores.utterances)
    trials, labels = first.scores.utterances[order], first.scores.bonafide[order]
    for other in others:
        if not (first.replicates and other.replicates):
            continue
        order = np.argsort(other.scores.utterances)
        if not np.array_equal(trials, other.scores.utterances[order]):
            notes.append(f"{other.name} is not compared with {first.name}: their files have different trials")
        elif (contradicting := np.flatnonzero(labels != other.scores.bonafide[order])).size:
            notes.append(
                f"{other.name} is not compared with {first.name}: their files give {contradicting.size:,} of "
                f"{len(trials):,} trials different labels, first {trials[contradicting[0]].decode()}"
            )
        elif first.resampling != other.resampling:
            notes.append(f"{other.name} is not compared with {first.name}: their files name different speakers")
        else:
            comparable.append(other)
    return comparable, notes


def _compare(reference: SystemResult, systems: Sequence[SystemResult], figure: str) -> list[Comparison]:
    drawn = [system.replicates[figure] - reference.replicates[figure] for system in systems]
    p_values = resampling.holm([resampling.p_value(differences) for differences in drawn])
    return [
        Comparison(
            reference.name,
            system.name,
            figure,
            getattr(system.evaluation, figure).value - getattr(reference.evaluation, figure).value,
            resampling.interval(differences),
            p,
            len(systems),
        )
        for system, differences, p in zip(systems, drawn, p_values, strict=True)
    ]


def _refuse_unusable(scores: CmScores) -> None:
    for label, present in (("bona fide", scores.bonafide), ("spoof", ~scores.bonafide)):
        if not present.any():
            raise InputError(f"{scores.path}: no {label} trial in it; error rates need both classes")
    largest = int(np.abs(scores.scores).argmax())
    if abs(scores.scores[largest]) > _LARGEST_SCORE:
        raise InputError(
            f"{scores.path}: score {scores.scores[largest]:g} of {scores.utterances[largest].decode()} is beyond "
            f"±{_LARGEST_SCORE:g}; look at the detector that gave it"
        )


def _notes_on_draws(results: Sequence[SystemResult]) -> list[str]:
    """Return what there is to say of trials that were drawn for lack of speakers, once for all systems."""
    names = [result.name for result in results if result.resampling and result.resampling.over == resampling.TRIALS]
    if not names:
        return []
    of = f"{', '.join(names)}: " if len(names) < len(results) else ""
    return [
        f"{of}fewer than {FEWEST_SPEAKERS} speakers are named, so intervals are over trials; "
        "they say nothing of other speakers and are likely too narrow"
    ]


def _notes(result: SystemResult, asv: AsvSystem | None) -> list[str]:
    notes = []
    scores = result.scores
    if np.ptp(scores.scores) == 0:
        notes.append(f"{result.name}: all scores are equal, so they tell nothing; ties count against the detector")
    elif result.evaluation.eer.value > 0.5:
        notes.append(
            f"{result.name}: EER above 50 %; higher must mean bona fide, so the scores' sign may be turned "
            f"(with the other sign: about {100 * (1 - result.evaluation.eer.value):.2f} %)"
        )
    if scores.unscored:
        notes.append(f"{result.name}: {scores.unscored:,} trials of the protocol have no score and are not counted")
    if asv and result.attacks:
        unknown = [group.name for group in result.attacks if group.name not in asv.attack_p_miss]
        if unknown:
            notes.append(
                f"the ASV scores have no {', '.join(unknown)}; t-DCF of these takes the ASV rates over all attacks"
            )
    return notes
