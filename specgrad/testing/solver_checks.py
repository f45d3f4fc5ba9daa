"""What a solver must satisfy: LAPACK's residual ratios on every named spectrum."""

from collections.abc import Sequence
from typing import Any

from specgrad._array import adjoint, identity
from specgrad._namespace import eps, is_array, namespace, smallest_normal
from specgrad._typing import Array, Namespace
from specgrad.solvers import Solver, eigenvalues_alone
from specgrad.testing._arrays import copied, is_unchanged, on_device
from specgrad.testing.spectra import SPECTRA, Spectrum

__all__ = ["check_solver", "orthogonality_ratio", "reconstruction_ratio"]

_LAPACK_RATIO = 60.0


def check_solver(
    solver: Solver,
    xp: Namespace,
    *,
    spectra: Sequence[Spectrum] = SPECTRA,
    sizes: Sequence[int] = (1, 2, 5, 16),
    dtypes: Sequence[str] = ("float32", "float64", "complex64", "complex128"),
    allowed_ratio: float = _LAPACK_RATIO,
    device: object = None,
) -> None:
    """Check that a solver decomposes every named spectrum as well as LAPACK asks of itself.

    For each spectrum, size and dtype: shapes and dtypes, ascending eigenvalues, both residual ratios, that
    eigenvalues found alone are the same, and that the input is left as it was. For the last size and first
    dtype also without a batch axis, with two, and with an empty batch.

    Parameters
    ----------
    solver : Solver
    xp : module
        Of the array library, with ``asarray`` of NumPy arrays: `numpy`, `torch`, `jax.numpy`, ...
    spectra : sequence of Spectrum, default SPECTRA
        A solver for positive semi-definite matrices passes those with `Spectrum.is_semidefinite`.
    sizes : sequence of int
        At least 1.
    dtypes : sequence of str
    allowed_ratio : float, default 60
        LAPACK's own threshold.
    device : device of the array library, optional

    Raises
    ------
    AssertionError
        With the spectrum, what was measured and what is allowed.
    ValueError
        If the library has no arrays of a dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import DenseEigh
    >>> from specgrad.testing import check_solver
    >>> check_solver(DenseEigh(), np, sizes=(3,))
    """
    for n in sizes:
        for dtype in dtypes:
            each = [on_device(xp, spectrum.matrix(n, dtype), device) for spectrum in spectra]
            matrices = tuple(zip(spectra, each, strict=True))
            found = _first_failure(solver, matrices, allowed_ratio)
            if (n, dtype) == (sizes[-1], dtypes[0]):
                found = found or _first_refused_shape(solver, matrices, allowed_ratio)
            if found:
                name, failure = found
                raise AssertionError(f"{solver!r} on {name}, n = {n}, {dtype}: {failure}")


def reconstruction_ratio(a: Array, values: Array, vectors: Array) -> Array:
    """LAPACK's ``|A - V diag(l) V^H| / (|A| n eps)`` in the 1-norm, shape (...)."""
    xp = namespace(a)
    scale = xp.max(xp.abs(a), axis=(-2, -1), keepdims=True)
    # Norms near the ends of the exponent range leave it.
    scale = xp.where(scale > smallest_normal(a), scale, 1.0)
    scaled = a / scale
    residual = scaled - (vectors * (values[..., None, :] / scale)) @ adjoint(vectors)
    size = _norm(scaled)
    size = xp.where(size > 0, size, 1.0)
    return _norm(residual) / (size * (a.shape[-1] * eps(a)))


def orthogonality_ratio(vectors: Array) -> Array:
    """LAPACK's ``|I - V^H V| / (n eps)`` in the 1-norm, shape (...)."""
    residual = adjoint(vectors) @ vectors - identity(vectors)
    return _norm(residual) / (vectors.shape[-1] * eps(vectors))


def _first_failure(
    solver: Solver, matrices: Sequence[tuple[Spectrum, Array]], allowed: float
) -> tuple[str, str] | None:
    """On what it fails, and what is wrong."""
    failure = _failure(solver, _batch(matrices), allowed)
    if not failure:
        return None
    # One of the batch fails: say which, or that it takes the batch.
    alone = ((f"'{spectrum}'", _failure(solver, a, allowed)) for spectrum, a in matrices)
    return next(
        ((name, failure) for name, failure in alone if failure),
        ("a batch of spectra, and not alone", failure),
    )


def _first_refused_shape(
    solver: Solver, matrices: Sequence[tuple[Spectrum, Array]], allowed: float
) -> tuple[str, str] | None:
    """On what it fails, and what is wrong, of batches that are not one list of matrices."""
    (last, a), batch = matrices[-1], _batch(matrices)
    stack = namespace(a).stack
    shapes = {
        f"'{last}' without a batch axis": a,
        "two batch axes, and not one": stack([batch[:3, ...], batch[-3:, ...]]),
        "an empty batch": batch[:0, ...],
    }
    return next(
        ((name, failure) for name, a in shapes.items() if (failure := _failure(solver, a, allowed))), None
    )


def _batch(matrices: Sequence[tuple[Spectrum, Array]]) -> Array:
    return namespace(matrices[0][1]).stack([a for _, a in matrices])


def _failure(solver: Solver, a: Array, allowed: float) -> str:
    """What is wrong, empty if nothing is."""
    xp, given = namespace(a), copied(a)
    try:
        values, vectors = solver.solve(given)
    except Exception as error:  # whatever a plug-in raises is a finding
        return f"it raises {type(error).__name__}: {error}"
    if not (is_array(values) and is_array(vectors)):
        return f"it gives {type(values).__name__} and {type(vectors).__name__}, and arrays are needed."
    if not is_unchanged(given, a):
        return "it writes into its input, which belongs to the caller."
    if namespace(values) is not xp or namespace(vectors) is not xp:
        return (
            f"it gives a {type(values).__name__} and a {type(vectors).__name__} for a {type(a).__name__}, "
            "and arrays of the same library are needed."
        )
    real = xp.abs(a[..., 0]).dtype
    if tuple(values.shape) != tuple(a.shape[:-1]) or values.dtype != real:
        return (
            f"eigenvalues of shape {tuple(values.shape)} and dtype {values.dtype}, and "
            f"{tuple(a.shape[:-1])} and {real} are needed."
        )
    if tuple(vectors.shape) != tuple(a.shape) or vectors.dtype != a.dtype:
        return (
            f"eigenvectors of shape {tuple(vectors.shape)} and dtype {vectors.dtype}, and "
            f"{tuple(a.shape)} and {a.dtype} are needed."
        )
    if not bool(xp.all(xp.isfinite(values))):
        return "an eigenvalue is not finite."
    if not bool(xp.all(values[..., 1:] >= values[..., :-1])):
        return "the eigenvalues are not ascending."
    ratios = {
        "|A - V diag(l) V^H|/(|A| n eps)": reconstruction_ratio(a, values, vectors),
        "|I - V^H V|/(n eps)": orthogonality_ratio(vectors),
    }
    for name, ratio in ratios.items():
        worst = 0.0 if 0 in ratio.shape else float(xp.max(ratio))
        if not worst <= allowed:  # NaN fails
            return f"{name} is {worst:.3g}, and at most {allowed:g} is allowed."
    return _failure_alone(solver, a, values, allowed) if hasattr(solver, "eigenvalues") else ""


def _failure_alone(solver: Any, a: Array, values: Array, allowed: float) -> str:
    """What is wrong with the eigenvalues that a solver gives without eigenvectors, empty if nothing is."""
    xp, given = namespace(a), copied(a)
    try:
        alone = eigenvalues_alone(solver, given, exactly_hermitian=True)
    except Exception as error:
        return f"its eigenvalues(a) raises {type(error).__name__}: {error}"
    if alone is None or not is_unchanged(given, a):
        return f"its eigenvalues(a) {'fails' if alone is None else 'writes into its input'}."
    if 0 in a.shape:
        return ""
    largest = xp.max(xp.abs(values), axis=-1, keepdims=True)
    # Of a matrix near the end of the exponent range, the unit is not below its smallest step.
    unit = a.shape[-1] * eps(a) * largest + smallest_normal(a)
    worst = float(xp.max(xp.abs(alone - values) / unit))
    if not worst <= allowed:
        return f"its eigenvalues(a) are {worst:.3g} n eps |A| from those of solve(a), of {allowed:g} allowed."
    return ""


def _norm(a: Array) -> Array:
    xp = namespace(a)
    return xp.max(xp.sum(xp.abs(a), axis=-2), axis=-1)
