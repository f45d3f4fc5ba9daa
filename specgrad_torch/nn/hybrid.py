"""The hybrid training protocol: one method first, another for the last stage."""

from typing import Any

from torch import nn

from specgrad import DenseEigh
from specgrad._require import require_whole
from specgrad.gradients import GradientRule
from specgrad.solvers import RootSolver, Solver
from specgrad_torch.nn.normalisation import CovarianceNormalisation
from specgrad_torch.nn.pooling import CovariancePooling

__all__ = ["HybridProtocol"]


class HybridProtocol:
    r"""Change the solver and the gradient rule of layers once, at the last decay of the learning rate.

    Newton-Schulz iteration trains well and fast; an accurate eigendecomposition gains in the last stage,
    where steps are small. It is stepped like a scheduler of `torch.optim.lr_scheduler`, beside it, and
    touches neither parameters nor the state of the optimizer. To resume a training, build the network and
    the protocol as at its start, and load the state: it holds the number of steps, not the first stage.

    Parameters
    ----------
    module : torch.nn.Module
        The network; each layer of `specgrad_torch.nn` in it is changed.
    milestone : int
        The number of calls of `step` after which to change, for `MultiStepLR` ``max(scheduler.milestones)``.
    solver : Solver, default DenseEigh()
        Of the last stage.
    gradient : GradientRule, optional
        Of the last stage; by default the exact one.

    Raises
    ------
    TypeError, ValueError
        If no layer in the module has a solver to change, or one could not work with that of the last stage.

    References
    ----------
    Song, Sebe and Wang, "Why approximate matrix square root outperforms accurate SVD in global covariance
    pooling?" (ICCV 2021), section 4.

    Examples
    --------
    >>> from specgrad import AcceptResidual, NewtonSchulz, PowerIterationGap, ThroughEigenvectors
    >>> from specgrad_torch.nn import CovariancePooling, HybridProtocol
    >>> layer = CovariancePooling(16, solver=NewtonSchulz(5, AcceptResidual()))
    >>> protocol = HybridProtocol(layer, 2, gradient=ThroughEigenvectors(PowerIterationGap(19)))
    >>> for epoch in range(2):
    ...     protocol.step()
    >>> layer.solver, layer.gradient
    (DenseEigh(), ThroughEigenvectors(gap=PowerIterationGap(steps=19)))
    """

    def __init__(
        self,
        module: nn.Module,
        milestone: int,
        *,
        solver: Solver | RootSolver = DenseEigh(),
        gradient: GradientRule | None = None,
    ) -> None:
        self._layers = [
            layer
            for layer in module.modules()
            if isinstance(layer, CovarianceNormalisation | CovariancePooling)
        ]
        if not self._layers:
            raise ValueError(
                f"HybridProtocol changes layers of specgrad_torch.nn, and {type(module).__name__} has none."
            )
        for layer in self._layers:
            layer.require_choices(solver, gradient)
        self.milestone, self.solver, self.gradient = milestone, solver, gradient
        require_whole(0, self, "milestone")
        self._first = [(layer.solver, layer.gradient) for layer in self._layers]
        self.last_epoch = 0
        self._set()

    def step(self) -> None:
        """Count one epoch (or iteration, as the milestone counts), and change the layers if it is time."""
        self.last_epoch += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """The position."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a position, before or after the change."""
        self.last_epoch = state_dict["last_epoch"]
        self._set()

    def _set(self) -> None:
        last_stage = self.last_epoch >= self.milestone
        for layer, first in zip(self._layers, self._first, strict=True):
            layer.solver, layer.gradient = (self.solver, self.gradient) if last_stage else first
