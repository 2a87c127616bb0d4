"""The loop of expectation-maximisation over data in blocks.

Incremental EM (R. M. Neal and G. E. Hinton, A view of the EM algorithm that justifies incremental, sparse, and other
variants, 1998): the E-step of a block replaces its previous statistics, and the parameters are updated at once from
the sum over all blocks.

Over-relaxation (R. Salakhutdinov and S. Roweis, Adaptive overrelaxed bound optimization methods, ICML 2003): within a
pass, updates exaggerate the change of the statistics since the pass began. This ends with the first pass whose
likelihood falls.

Neither changes the optimum. Batch EM is the case of a single block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from countermeasure.gmm.mixture import Parameters, Statistics, total

# Changes are multiplied by 1 plus this; 0 is plain incremental EM. 0.8 needed a third of the passes of 0, and 1.2
# hardly fewer. About 1 % of a component's updates give a negative variance, which the floor raises until the next
# block. Not over-relaxing such components took 10 % more passes and gained nothing on held-out data.
OVER_RELAXATION = 0.8

EStep = Callable[[int, Parameters], Statistics]
MStep = Callable[[Statistics, Parameters], Parameters]


@dataclass(frozen=True)
class State:
    """The state of training between two passes.

    Attributes
    ----------
    parameters : Parameters
    blocks : tuple of Statistics
        The statistics of each block, from its latest E-step; empty before the first pass.
    history : tuple of float
        Mean log-likelihood per frame of each pass, in nats. In incremental EM, each block's value is that under the
        parameters at its turn.
    """

    parameters: Parameters
    blocks: tuple[Statistics, ...] = ()
    history: tuple[float, ...] = ()

    @property
    def gain(self) -> float:
        """Gain of the latest pass over the one before, in nats per frame; from the second pass on."""
        return self.history[-1] - self.history[-2]

    def has_converged(self, tol: float) -> bool:
        """Return whether each of the two latest passes gained less than `tol`; a single one may be chance."""
        gains = np.diff(self.history[-3:])
        return len(gains) == 2 and bool((gains < tol).all())

    @property
    def has_fallen(self) -> bool:
        """Whether the likelihood of any pass was below that of the one before."""
        return bool((np.diff(self.history) < 0).any())


def one_pass(state: State, n_blocks: int, e_step: EStep, m_step: MStep) -> State:
    """Visit every block once.

    The first pass updates the parameters only at its end, when the statistics of all blocks are known.
    """
    parameters = state.parameters
    if state.blocks:
        blocks = list(state.blocks)
        before = now = total(blocks)
        relaxes = n_blocks > 1 and not state.has_fallen
        for b in range(n_blocks):
            new = e_step(b, parameters)
            now = replace(now, sums=now.sums + (new.sums - blocks[b].sums))
            blocks[b] = new
            parameters = m_step(_over_relaxed(now, before) if relaxes else now, parameters)
    else:
        blocks = [e_step(b, parameters) for b in range(n_blocks)]
        now = total(blocks)
    # The last update of a pass is not over-relaxed.
    parameters = m_step(now, parameters)
    log_likelihood = sum(block.log_likelihood for block in blocks) / sum(block.n_frames for block in blocks)
    return State(parameters, tuple(blocks), (*state.history, log_likelihood))


def _over_relaxed(now: Statistics, before: Statistics) -> Statistics:
    sums = now.sums + OVER_RELAXATION * (now.sums - before.sums)
    # Not for a component that would lose more than half of its frames, and might lose all.
    left_alone = sums[-1] < 0.5 * now.occupancy
    sums[:, left_alone] = now.sums[:, left_alone]
    return replace(now, sums=sums)


def passes(state: State, n_blocks: int, e_step: EStep, m_step: MStep, max_iter: int, tol: float) -> Iterator[State]:
    """Yield the state after each pass, until two passes in a row gain less than `tol` or `max_iter` passes are done.

    Parameters
    ----------
    state : State
        The start, or the state of an earlier run.
    e_step : callable
        Returns the statistics of a block, given its number and the parameters.
    m_step : callable
        Returns the new parameters, given the statistics of all blocks and the previous parameters.
    """
    while not state.has_converged(tol) and len(state.history) < max_iter:
        state = one_pass(state, n_blocks, e_step, m_step)
        yield state
