"""Eigendecompositions of Hermitian matrices with stable derivatives."""

from typing import Protocol, TypedDict, Unpack, cast, overload

from specgrad._require import require_method
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding, Differentiable, differentiable
from specgrad.gaps import GapRule, MaskedGap
from specgrad.gauge import GaugePolicy, WarnGauge
from specgrad.primitives import Eigh, TruncatedEigh
from specgrad.results import EighResult, TruncatedEighResult
from specgrad.solvers import (
    DenseEigh,
    Solver,
    eigenvalues_alone,
    has_own_derivative,
    prepare,
    require_complete,
)
from specgrad.truncation import Truncation
from specgrad.validation import hermitian_input

__all__ = ["eigh", "eigvalsh"]

# Made here once: torch.compile can use a frozen value, but not always construct one.
_DEFAULT_GAP = MaskedGap()


class _Choices(TypedDict, total=False):
    gap: GapRule | None
    solver: Solver
    gauge: GaugePolicy
    check_finite: bool


class _Eigh(Protocol):
    """`eigh` to a type checker: what it returns depends on whether there is a truncation."""

    @overload
    def __call__(self, a: Array, *, truncation: None = None, **choices: Unpack[_Choices]) -> EighResult: ...
    @overload
    def __call__(
        self, a: Array, *, truncation: Truncation, **choices: Unpack[_Choices]
    ) -> TruncatedEighResult: ...

    def bound(self, binding: Binding) -> "_Eigh":
        """The same function on another binding."""


def _typed(function: Differentiable[..., EighResult | TruncatedEighResult]) -> _Eigh:
    return cast(_Eigh, function)


@_typed
@differentiable
def eigh(
    binding: Binding,
    a: Array,
    *,
    gap: GapRule | None = None,
    solver: Solver = DenseEigh(),
    truncation: Truncation | None = None,
    gauge: GaugePolicy = WarnGauge(),
    check_finite: bool = True,
) -> EighResult | TruncatedEighResult:
    r"""Decompose Hermitian matrices, ``A = V diag(l) V^H``, with a derivative that stays finite and right.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Real symmetric or complex Hermitian; float16 and bfloat16 are computed in float32, which is
        then the dtype of the result.
    gap : GapRule, optional
        What stands for ``1/(l_j - l_i)`` in the derivative. By default `MaskedGap`: exact to rounding, at
        any gap and at ties, for losses that look at a cluster, equal or nearly equal eigenvalues, through
        the subspace of its eigenvectors or a symmetric function of its eigenvalues. For a solver with a
        derivative of its own (`PowerIteration`), by default that.
    solver : Solver, default DenseEigh()
        Computes the decomposition.
    truncation : Truncation, optional
        Which eigenpairs to keep.
    gauge : GaugePolicy, default WarnGauge()
        What to do about a loss that depends on the phase of an eigenvector or on the basis inside a tie.
    check_finite : bool, default True
        Whether to look at the values, where that is cheap, and raise if they are not finite or not
        Hermitian. Without it, and where values cannot be looked at, the Hermitian part is taken, and a
        matrix with NaN or infinite entries gives NaN without changing its neighbours in the batch; but a
        solver with a derivative of its own sees its input as it is.

    Returns
    -------
    EighResult
        Eigenvalues (..., n), ascending, and eigenvectors (..., n, n) in columns.
    TruncatedEighResult
        With a truncation: largest magnitude first, and the rank of each matrix.

    Raises
    ------
    TypeError
        If `a` is no array, or has no floating dtype.
    ValueError
        If matrices are not square, not finite, or not Hermitian.
    ConvergenceError
        If the solver does not converge; see `Fallback`.

    Warns
    -----
    GaugeWarning
        In the backward pass, of a loss that depends on the phase of an eigenvector or on the basis inside a
        tie, or that looks at eigenvectors of equal eigenvalues and weighs these differently; `RaiseGauge`
        makes it an error.

    Notes
    -----
    The derivative of an eigenvector has ``1/gap`` in it. Where a function of the whole matrix is meant,
    as in whitening or a projector, differentiating that function avoids the division altogether.
    Second derivatives are exact off ties, up to rounding of size eps/gap**2, and finite but not exact at
    them, also where only eigenvectors that the loss does not look at belong to a tie; those of
    `spectral_projector` are exact there. At the optimum of a loss take forward mode over reverse mode:
    reverse over reverse mistakes for rounding what the default's floor hides there, between eigenvalues
    closer than ``eps**(1/3) max|l|``.

    References
    ----------
    Giles (2008), sections 3.1 and 3.2; Wang et al. (NeurIPS 2019) and Song et al. (ICCV 2021) for the
    gap rules.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import eigh, vjp
    >>> a = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> (values, vectors), pullback = vjp(eigh, a)
    >>> values
    array([1., 3.])
    >>> (gradient,) = pullback((np.array([0.0, 1.0]), None))  # of the largest eigenvalue: v v^T
    >>> gradient.round(3)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    outputs = _decompose(binding, a, gap, solver, truncation, gauge, check_finite)
    return EighResult(*outputs) if truncation is None else TruncatedEighResult(*outputs[:3])


@differentiable
def eigvalsh(binding: Binding, a: Array, *, solver: Solver = DenseEigh(), check_finite: bool = True) -> Array:
    r"""Eigenvalues of Hermitian matrices, ascending, with a derivative that needs no gap.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Real symmetric or complex Hermitian; float16 and bfloat16 are computed in float32.
    solver : Solver, default DenseEigh()
    check_finite : bool, default True
        As in `eigh`.

    Returns
    -------
    array, shape (..., n)
        Real. The gradient ``V diag(gl) V^H`` is exact at ties for symmetric functions of the tied values. A
        single one of them, such as the largest, has no derivative there: its gradient is one of several, a
        subgradient of the largest, and its tangent is not that along the direction.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `eigh`.

    Notes
    -----
    No eigenvectors are computed where no derivative can be asked for: without an adapter outside `vjp` and
    `jvp`, and of tensors that need no gradient, if the matrices are in host memory and are checked.

    Second derivatives are exact off ties, and finite but not exact at them, also of symmetric functions: for
    a sum of ``f(l)`` take the trace of `matrix_function`, whose second derivatives are exact there.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import eigvalsh
    >>> eigvalsh(np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([1., 3.])
    """
    a, exactly_hermitian = hermitian_input(binding, a, "a", check_finite)
    primitive = binding.built(_primitive, None, solver, None, WarnGauge(tolerance=None), exactly_hermitian)
    alone = None
    if exactly_hermitian is not None and not binding.records(a):
        alone = eigenvalues_alone(solver, a, exactly_hermitian)
    return binding.apply(primitive, a)[0] if alone is None else alone


def _decompose(
    binding: Binding,
    a: Array,
    gap: GapRule | None,
    solver: Solver,
    truncation: Truncation | None,
    gauge: GaugePolicy,
    check_finite: bool,
) -> Arrays:
    """The outputs of the primitive."""
    a, exactly_hermitian = hermitian_input(binding, a, "a", check_finite)
    return binding.apply(binding.built(_primitive, gap, solver, truncation, gauge, exactly_hermitian), a)


def _primitive(
    binding: Binding,
    gap: GapRule | None,
    solver: Solver,
    truncation: Truncation | None,
    gauge: GaugePolicy,
    exactly_hermitian: bool | None,
) -> Eigh | TruncatedEigh:
    """The primitive, for input that was seen to be Hermitian or not; see `prepare`."""
    require_method(solver, "solve", "solver", "DenseEigh()")
    require_complete(solver)
    if gap is not None:
        require_method(gap, "matrix", "gap", "MaskedGap()")
    if truncation is not None:
        require_method(truncation, "keep", "truncation", "MaxRank(4)")
    require_method(gauge, "apply", "gauge", "RaiseGauge()")
    if gap is None and not has_own_derivative(solver):
        gap = _DEFAULT_GAP
    whole = Eigh(solver=prepare(solver, exactly_hermitian, binding), gap=gap, gauge=gauge)
    return whole if truncation is None else TruncatedEigh(whole=whole, truncation=truncation)
