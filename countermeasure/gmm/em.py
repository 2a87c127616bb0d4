"""The loop of expectation-maximisation over data that come in blocks.

Incremental EM (R. M. Neal and G. E. Hinton, A view of the EM algorithm that justifies incremental,
sparse, and other variants, 1998): the statistics of each block are kept. The E-step of a block
replaces its old statistics, and the parameters are updated at once from the sum over all blocks.

Over-relaxation (R. Salakhutdinov and S. Roweis, Adaptive overrelaxed bound optimization methods, ICML
2003): within a pass, updates take the change of the statistics since the pass began as larger than it
is. It stops for good with the first pass whose likelihood falls.

Neither moves the optimum, which is that of batch EM over all data: the case of a single block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from countermeasure.gmm.mixture import Parameters, Statistics, total

# By how much changes are taken as larger; 0 is plain incremental EM. 0.8 needed a third of the passes of 0, and 1.2
# hardly fewer. One update of a component in a hundred comes to a variance below 0, which the floor raises until the
# next block. Not over-relaxing such components took a tenth more passes and gained nothing on held-out data.
OVER_RELAXATION = 0.8

EStep = Callable[[int, Parameters], Statistics]
MStep = Callable[[Statistics, Parameters], Parameters]


@dataclass(frozen=True)
class State:
    """Where training stands between two passes.

    Attributes
    ----------
    parameters : Parameters
    blocks : tuple of Statistics
        The statistics of each block, from its latest E-step; empty before the first pass.
    history : tuple of float
        Mean log-likelihood a frame of each pass, in nats. In incremental EM every block contributes
        its value under the parameters that it was visited with.
    """

    parameters: Parameters
    blocks: tuple[Statistics, ...] = ()
    history: tuple[float, ...] = ()

    @property
    def gain(self) -> float:
        """What the latest pass gained over the one before it, in nats a frame."""
        return self.history[-1] - self.history[-2] if len(self.history) > 1 else np.inf

    def has_converged(self, tol: float) -> bool:
        """Whether the two latest passes gained less than `tol` each: a single one may be chance."""
        gains = np.diff(self.history[-3:])
        return len(gains) == 2 and bool((gains < tol).all())

    @property
    def has_fallen(self) -> bool:
        """Whether a pass came out below the one before it."""
        return bool((np.diff(self.history) < 0).any())


def one_pass(state: State, n_blocks: int, e_step: EStep, m_step: MStep) -> State:
    """Visit every block once.

    The first pass updates the parameters at its end: before it, nothing is known of the blocks that
    come later, and parameters after the first block would be those of that block alone.
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
    # Without over-relaxation, so that a pass ends where plain EM would.
    parameters = m_step(now, parameters)
    log_likelihood = sum(block.log_likelihood for block in blocks) / sum(block.n_frames for block in blocks)
    return State(parameters, tuple(blocks), (*state.history, log_likelihood))


def _over_relaxed(now: Statistics, before: Statistics) -> Statistics:
    sums = now.sums + OVER_RELAXATION * (now.sums - before.sums)
    # Not for a component that would lose half of its frames by it, and might lose all.
    left_alone = sums[-1] < 0.5 * now.occupancy
    sums[:, left_alone] = now.sums[:, left_alone]
    return replace(now, sums=sums)


def run(
    state: State,
    n_blocks: int,
    e_step: EStep,
    m_step: MStep,
    max_iter: int,
    tol: float,
    observe: Callable[[State], None],
) -> State:
    """Pass over the data until two passes in a row gain less than `tol` or `max_iter` passes are done.

    Parameters
    ----------
    state : State
        The start, or where an earlier run was stopped.
    e_step : callable
        Takes a block's number and parameters; gives its statistics.
    m_step : callable
        Takes the statistics of all blocks and the parameters before; gives the parameters after.
    observe : callable
        Called with the state after each pass.
    """
    while not state.has_converged(tol) and len(state.history) < max_iter:
        state = one_pass(state, n_blocks, e_step, m_step)
        observe(state)
    return state
