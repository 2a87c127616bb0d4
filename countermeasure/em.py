"""The loop of expectation-maximisation over data that come in blocks.

Incremental EM (R. M. Neal and G. E. Hinton, A view of the EM algorithm that justifies incremental,
sparse, and other variants, 1998): the statistics of each block are kept; after a block's E-step its
old share is replaced and the parameters follow at once. The optimum is that of batch EM over all
the data, which is the case of a single block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from countermeasure.mixture import Parameters, Statistics

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
    converged : bool
    """

    parameters: Parameters
    blocks: tuple[Statistics, ...] = ()
    history: tuple[float, ...] = ()
    converged: bool = False

    @property
    def gain(self) -> float:
        """What the latest pass gained over the one before it, in nats a frame."""
        return self.history[-1] - self.history[-2] if len(self.history) > 1 else np.inf


def one_pass(state: State, n_blocks: int, e_step: EStep, m_step: MStep) -> State:
    """Visit every block once.

    The first pass updates the parameters at its end: before it, nothing is known of the blocks that
    come later, and parameters after the first block would be those of that block alone.
    """
    parameters = state.parameters
    blocks = list(state.blocks)
    total = _sum(blocks) if blocks else None
    log_likelihood, n_frames = 0.0, 0
    for b in range(n_blocks):
        new = e_step(b, parameters)
        log_likelihood += new.log_likelihood
        n_frames += new.n_frames
        if total is None:
            blocks.append(new)
            continue
        total = replace(total, sums=total.sums + (new.sums - blocks[b].sums))
        blocks[b] = new
        parameters = m_step(total, parameters)
    if total is None:
        parameters = m_step(_sum(blocks), parameters)
    return State(parameters, tuple(blocks), (*state.history, log_likelihood / n_frames))


def run(
    state: State,
    n_blocks: int,
    e_step: EStep,
    m_step: MStep,
    max_iter: int,
    tol: float,
    observe: Callable[[State], None],
) -> State:
    """Pass over the data until a pass gains less than `tol` or `max_iter` passes are done.

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
    while not state.converged and len(state.history) < max_iter:
        state = one_pass(state, n_blocks, e_step, m_step)
        state = replace(state, converged=state.gain < tol)
        observe(state)
    return state


def _sum(blocks: list[Statistics]) -> Statistics:
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    return total
