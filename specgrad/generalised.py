"""Eigendecompositions in a metric: vibrations, overlapping basis functions, discriminants."""

from specgrad._array import rounding_of
from specgrad._namespace import is_complex, is_single, namespace
from specgrad._places import first_index, place
from specgrad._require import require_method
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding, differentiable
from specgrad.gaps import GapRule, MaskedGap
from specgrad.gauge import GaugePolicy, WarnGauge
from specgrad.primitives import GeneralisedEigh
from specgrad.results import EighResult
from specgrad.solvers import DenseEigh, Solver, has_own_derivative, prepare
from specgrad.validation import hermitian_input

__all__ = ["generalised_eigh"]

# Made here once: torch.compile can use a frozen value, but not always construct one.
_DEFAULT_GAP = MaskedGap()


@differentiable
def generalised_eigh(
    binding: Binding,
    a: Array,
    b: Array,
    *,
    gap: GapRule = _DEFAULT_GAP,
    solver: Solver = DenseEigh(),
    gauge: GaugePolicy = WarnGauge(),
    check_finite: bool = True,
) -> EighResult:
    r"""Solve ``A X = B X diag(l)`` with ``X^H B X = I``, differentiable in both matrices.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Real symmetric or complex Hermitian; float16 and bfloat16 are computed in float32.
    b : array, shape (..., n, n)
        The metric: Hermitian as well, and positive definite. Batch axes broadcast, and the wider of the two
        precisions is computed in. Its condition number counts once it is scaled to a diagonal of ones, so
        units do not matter; where that exceeds ``1/(n eps)``, it counts as singular.
    gap : GapRule, default MaskedGap()
        What stands for ``1/(l_j - l_i)`` in the derivative, as in `eigh`. If it has a rounding floor, what an
        ill-conditioned metric makes of rounding is left out as well.
    solver : Solver, default DenseEigh()
        Decomposes `b`, and `a` in its metric.
    gauge : GaugePolicy, default WarnGauge()
    check_finite : bool, default True
        As in `eigh`.

    Returns
    -------
    EighResult
        Eigenvalues (..., n), ascending, and eigenvectors (..., n, n) in columns, orthonormal in the metric.

    Raises
    ------
    TypeError
        If `a` or `b` is no array, or has no floating dtype; for a solver with a derivative of its own.
    ValueError
        If matrices are not square, not of one size, not finite, or not Hermitian; if `b` is not positive
        definite, or eigenvalues leave the range of the dtype. Without looking, as where values cannot be
        looked at, these give NaN for that item alone.
    ConvergenceError
        If the solver does not converge.

    Warns
    -----
    GaugeWarning
        In the backward pass, as `eigh`.

    Notes
    -----
    Errors of eigenvalues are about eps times the condition number of `b` times ``max|l|`` in the worst case,
    and far smaller where eigenvectors have no large coefficients in the directions in which `b` is small.
    Eigenvalues that may be equal by these errors, which are estimated for each, count as equal to a gauge
    policy. For the eigenvalues of smallest magnitude, as of the lowest vibrations, exchange the matrices, if
    `a` is positive definite: ``generalised_eigh(b, a)`` has the reciprocals. This also is the way if `b` is
    singular or indefinite.

    References
    ----------
    Golub and Van Loan, "Matrix Computations" (4th ed., 2013), section 8.7; Fox and Kapoor, "Rates of change
    of eigenvalues and eigenvectors" (AIAA Journal, 1968).

    Examples
    --------
    Two masses between three springs, and how the lowest squared frequency depends on the masses:

    >>> import numpy as np
    >>> from specgrad import generalised_eigh, vjp
    >>> stiffness = np.array([[2.0, -1.0], [-1.0, 2.0]])
    >>> (values, modes), pullback = vjp(generalised_eigh, stiffness, np.diag([1.0, 1.0]))
    >>> values
    array([1., 3.])
    >>> _, in_mass = pullback((np.array([1.0, 0.0]), None))
    >>> np.diagonal(in_mass).round(3)
    array([-0.5, -0.5])
    """
    a, _ = hermitian_input(binding, a, "a", check_finite)
    b, _ = hermitian_input(binding, b, "b", check_finite)
    a, b = binding.taken(a), binding.taken(b)
    _require_pair(a, b)
    alike = tuple(a.shape) == tuple(b.shape) and is_complex(a) == is_complex(b)
    primitive = binding.built(_primitive, gap, solver, gauge, alike)
    outputs = binding.apply(primitive, *_in_wider_precision(a, b))
    if check_finite and (spectrum := binding.view(outputs[2])) is not None:
        _require_definite(namespace(spectrum).reshape(spectrum, tuple(b.shape[:-1])))
        _require_in_range(binding.view(outputs[0]))
    return EighResult(*outputs[:2])


def _primitive(
    binding: Binding, gap: GapRule, solver: Solver, gauge: GaugePolicy, alike: bool
) -> GeneralisedEigh:
    require_method(gap, "matrix", "gap", "MaskedGap()")
    require_method(solver, "solve", "solver", "DenseEigh()")
    require_method(gauge, "apply", "gauge", "RaiseGauge()")
    if has_own_derivative(solver):
        raise TypeError(
            f"{solver!r} differentiates its own steps, which know no metric: use solver=DenseEigh() with a "
            "gap rule, such as PowerIterationGap(19)."
        )
    return GeneralisedEigh(solver=prepare(solver, None, binding), gap=gap, gauge=gauge, alike=alike)


def _require_pair(a: Array, b: Array) -> None:
    """Raise unless both are of one library and size, in batches that go together."""
    if namespace(a) is not namespace(b):
        kinds = (f"a {type(x).__module__}.{type(x).__name__}" for x in (a, b))
        raise TypeError(
            f"a and b are {' and '.join(kinds)}, and arrays of one library are needed: convert one of them."
        )
    pairs = zip(reversed(a.shape[:-2]), reversed(b.shape[:-2]), strict=False)
    if a.shape[-1] != b.shape[-1] or not all(i == j or 1 in (i, j) for i, j in pairs):
        raise ValueError(
            f"a has shape {tuple(a.shape)} and b {tuple(b.shape)}, and matrices of one size are needed, in "
            "batches that broadcast."
        )


def _in_wider_precision(a: Array, b: Array) -> Arrays:
    if is_single(a) == is_single(b):
        return a, b
    xp = namespace(a)
    return tuple(xp.astype(m, xp.complex128 if is_complex(m) else xp.float64) for m in (a, b))


def _require_definite(spectrum: Array) -> None:
    """Raise unless the eigenvalues of the scaled metric, which must be readable, are positive."""
    if 0 in spectrum.shape:
        return
    xp = namespace(spectrum)
    smallest, largest = xp.min(spectrum, axis=-1), xp.max(xp.abs(spectrum), axis=-1)
    singular = ~(smallest > rounding_of(spectrum)[..., 0])
    if not bool(xp.any(singular)):
        return
    index = first_index(singular)
    found, beside = float(smallest[index]), float(largest[index])
    raise ValueError(
        f"b is not positive definite to rounding: the matrix at {place(index)}, scaled to a diagonal of "
        f"ones where that is positive, has an eigenvalue of {found:.1e} beside one of {beside:.1e}. "
        "If a is positive definite, exchange them: generalised_eigh(b, a) has the reciprocals of the "
        "eigenvalues. If both are singular for the same vectors, as covariances of dependent variables are, "
        "pass Q^H a Q and Q^H b Q with a constant orthonormal basis Q of the rest. Else compute in double "
        "precision, or add to the diagonal of b what is small beside its eigenvalues and no rounding."
    )


def _require_in_range(values: Array) -> None:
    """Raise unless the eigenvalues of finite matrices, which must be readable, are finite too."""
    xp = namespace(values)
    finite = xp.all(xp.isfinite(values), axis=-1)
    if not bool(xp.all(finite)):
        raise ValueError(
            f"The eigenvalues of a in the metric b leave the range of {values.dtype} at "
            f"{place(first_index(~finite))}: scale one of them, or compute in double precision."
        )
