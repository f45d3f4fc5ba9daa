"""Square roots by matrix products alone."""

from dataclasses import dataclass, field

from specgrad._namespace import namespace
from specgrad._require import require_at_least, require_method, require_whole
from specgrad._typing import Array
from specgrad._warn import warn_once
from specgrad.derivatives import newton_schulz
from specgrad.solvers.protocol import ConvergenceError, ResidualPolicy, RootSolver

__all__ = [
    "AcceptResidual",
    "ConvergenceWarning",
    "NewtonSchulz",
    "RaiseResidual",
    "WarnResidual",
]


class ConvergenceWarning(UserWarning):
    """An iteration with a fixed number of steps has not converged."""


@dataclass(frozen=True)
class WarnResidual:
    """Warn once per call site, with the largest residual.

    Parameters
    ----------
    tolerance : float, default 0.01

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import NewtonSchulz, WarnResidual, sqrtm
    >>> sqrtm(np.diag([4.0, 1.0]), solver=NewtonSchulz(8, residual=WarnResidual(1e-3))).round(6)
    array([[2., 0.],
           [0., 1.]])
    """

    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")

    def judge(self, residual: Array, solver: RootSolver) -> None:
        excess = _excess(residual, self.tolerance)
        if excess is not None:
            warn_once(_explain(excess, solver), ConvergenceWarning)


@dataclass(frozen=True)
class RaiseResidual:
    """Raise `ConvergenceError` where `WarnResidual` would warn.

    Parameters
    ----------
    tolerance : float, default 0.01

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import NewtonSchulz, RaiseResidual, sqrtm
    >>> sqrtm(np.diag([1.0, 1e-6]), solver=NewtonSchulz(5, residual=RaiseResidual()))
    Traceback (most recent call last):
        ...
    specgrad.solvers.protocol.ConvergenceError: NewtonSchulz(...) has not converged: ...
    """

    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")

    def judge(self, residual: Array, solver: RootSolver) -> None:
        excess = _excess(residual, self.tolerance)
        if excess is not None:
            raise ConvergenceError(_explain(excess, solver))


@dataclass(frozen=True)
class AcceptResidual:
    """Take the iterate as it is: iSQRT-COV as published.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import AcceptResidual, NewtonSchulz, sqrtm
    >>> sqrtm(np.diag([1.0, 1e-2]), solver=NewtonSchulz(5, AcceptResidual())).round(3)  # not 0.1 yet
    array([[1.   , 0.   ],
           [0.   , 0.066]])
    """

    def judge(self, residual: Array, solver: RootSolver) -> None:
        return


@dataclass(frozen=True)
class NewtonSchulz:
    """Square root and inverse square root by Newton-Schulz iteration on ``A/tr(A)``: iSQRT-COV.

    For `sqrtm` and `inv_sqrtm`. No decomposition, only products, so it is fast on GPUs; the derivative is the
    adjoint of its own steps. The residual of root and inverse is ``||X B - I||_F/sqrt(n)``. To bring it to
    0.01 takes about ``2 + log(tr(A)/l_min)/log(9/4)`` steps, and three more all digits of double precision: 5
    do for 4 x 4 matrices of condition 5 with evenly spread eigenvalues, and 64 x 64 ones of condition 10 take
    9. The zero matrix has no trace to divide by, and gives NaN.

    Parameters
    ----------
    steps : int, default 5
    residual : ResidualPolicy, default WarnResidual()
        What to do where the iteration has not converged, where values can be looked at.

    Raises
    ------
    TypeError, ValueError
        If the number of steps is no integer or below 1, or the residual has no method ``judge``.

    References
    ----------
    Li, Xie, Wang and Gao, CVPR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import NewtonSchulz, sqrtm
    >>> sqrtm(np.diag([4.0, 9.0]), solver=NewtonSchulz(10)).round(6)
    array([[2., 0.],
           [0., 3.]])
    """

    steps: int = 5
    residual: ResidualPolicy = field(default_factory=lambda: WarnResidual())

    def __post_init__(self) -> None:
        require_whole(1, self, "steps")
        require_method(self.residual, "judge", "residual", "WarnResidual()")

    def root(self, a: Array) -> tuple[Array, Array]:
        return newton_schulz.forward(a, self.steps)

    def root_vjp(self, a: Array, cotangents: tuple[Array | None, Array | None]) -> Array:
        return newton_schulz.vjp(a, self.steps, *cotangents)

    def root_jvp(self, a: Array, tangent: Array) -> tuple[Array, Array]:
        return newton_schulz.jvp(a, self.steps, tangent)


def _excess(residual: Array, tolerance: float) -> float | None:
    """The largest residual if it is above the tolerance, NaN included."""
    if 0 in residual.shape:
        return None
    largest = float(namespace(residual).max(residual))
    return None if largest <= tolerance else largest


def _explain(residual: float, solver: RootSolver) -> str:
    return (
        f"{solver} has not converged: the residual of root times inverse is "
        f"{residual:.1e}. Take more steps, add to the diagonal, or use solver=DenseEigh(); "
        "residual=AcceptResidual() takes the iterate as it is."
    )
