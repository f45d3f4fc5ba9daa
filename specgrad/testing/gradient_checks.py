"""What a differentiable function must satisfy: finite differences and adjointness."""

from collections.abc import Callable
from typing import Any

import numpy as np

from specgrad._array import adjoint, hermitian_part, real_part
from specgrad._namespace import eps, is_complex, namespace
from specgrad._typing import Array, Arrays
from specgrad.solvers import has_own_derivative
from specgrad.testing._arrays import copied, is_unchanged, random_like, require_precision
from specgrad.testing.losses import LinearLoss, Loss
from specgrad.transforms import jvp, vjp

__all__ = ["check_gradient"]

# Rounding errors of a derivative: products of matrices on top of a decomposition.
_ROUNDINGS = 512


def check_gradient(
    function: Callable[..., Any],
    /,
    *arrays: Array,
    loss: Loss = LinearLoss(),
    radius: float = 0.1,
    hermitian: bool = True,
    seed: int = 0,
    **options: Any,
) -> None:
    r"""Check the pullback of a function of this library, in one random direction.

    With the gradient ``g`` of the loss from `specgrad.vjp` and a random direction ``e``,

    - ``Re <g, e>`` agrees with central differences of the loss, taken in double precision;
    - ``Re <g, e>`` agrees with ``Re <cotangents, jvp(e)>``: vjp and jvp are adjoint;
    - ``g`` is Hermitian where the argument is, and the same when it is asked for again; arguments and
      cotangents are left as they were.

    Tolerances are ``eps^(2/3)/radius`` of double precision and ``eps/radius`` of the arrays, times named
    constants and the size of what is compared.

    Parameters
    ----------
    function : callable
        A function of this library.
    *arrays : array
        Those of its arguments that are arrays; batches are allowed. Of empty ones, shapes are all there is to
        check. Others go by name, as in ``check_gradient(powm, a, exponent=0.5)``.
    loss : Loss, default LinearLoss()
        Of the output. For functions that put out eigenvectors use `ClusterLoss`, which does not depend
        on the gauge; `LinearLoss` does, and is for those of a solver that brings its own derivative.
    radius : float, default 0.1
        How far, in units of the largest entry of the arguments, the function stays smooth: for losses
        of eigenvectors, the smallest gap that the loss can feel.
    hermitian : bool, default True
        Whether directions are Hermitian matrices, as they are for arguments that must be; False for data, as
        those of `zca_whiten`.
    seed : int, default 0
        Of the direction.
    **options
        Keyword arguments of the function.

    Raises
    ------
    AssertionError
        With what was measured and what is allowed.
    ValueError
        If the loss is a `LinearLoss` of eigenvectors whose signs and phases are arbitrary, or the library has
        no double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import eigh
    >>> from specgrad.testing import ClusterLoss, check_gradient
    >>> check_gradient(eigh, np.diag([1.0, 2.0, 2.0]), loss=ClusterLoss(((1, 2),)), radius=0.5)
    """
    generator = np.random.default_rng(seed)
    scale = max(_largest(a) for a in arrays) or 1.0
    directions = tuple(_direction(a, scale, hermitian, generator) for a in arrays)
    name = f"{getattr(function, '__name__', function)} with {options}"
    given = tuple(copied(a) for a in arrays)
    output, pullback = vjp(function, *given, **options)
    _require_no_gauge(name, output, loss, options.get("solver"))
    cotangents = _as_tuple(loss.cotangents(output))
    kept = tuple(None if c is None else copied(c) for c in cotangents)
    gradients = pullback(cotangents if isinstance(output, tuple) else cotangents[0])
    _, tangents = jvp(function, given, directions, **options)
    _require_untouched(name, "arguments", given, arrays)
    _require_untouched(name, "cotangents", cotangents, kept)

    rounding = _ROUNDINGS * eps(arrays[0]) / radius
    _require_like(name, gradients, arrays)
    again = pullback(cotangents if isinstance(output, tuple) else cotangents[0])
    _require_repeated(name, gradients, again, rounding)
    if hermitian:
        _require_hermitian(name, gradients, rounding)
    slope = sum(_inner(g, e) for g, e in zip(gradients, directions, strict=True))
    size = sum(_length(g) * _length(e) for g, e in zip(gradients, directions, strict=True))
    _require_adjoint(name, slope, kept, _as_tuple(tangents), rounding * size)

    wide = tuple(_widened(a) for a in arrays)

    def at(distance: float) -> float:
        moved = (a + distance * _widened(e) for a, e in zip(wide, directions, strict=True))
        value = loss.value(function(*moved, **options))
        _require_finite(name, f"loss at a step of {distance:.3g}", value)
        return float(value)

    truncation = _ROUNDINGS * float(np.finfo(np.float64).eps) ** (2 / 3) / radius
    allowed = (rounding + truncation) * size + truncation * abs(at(0.0))
    _require_slope(name, slope, at, float(np.finfo(np.float64).eps) ** (1 / 3) * radius, allowed)


def _require_no_gauge(name: str, output: Any, loss: Loss, solver: Any) -> None:
    """Refuse a loss of single entries of eigenvectors, whose signs are the solver's choice."""
    # A solver with its own derivative also differentiates the signs and phases that it chooses.
    if isinstance(loss, LinearLoss) and hasattr(output, "eigenvectors") and not has_own_derivative(solver):
        raise ValueError(
            f"{name} puts out eigenvectors, and {loss!r} depends on their signs and phases, which are "
            "arbitrary: whether its gradient is right is chance. Pass loss=ClusterLoss(clusters), with the "
            "columns of each cluster of eigenvalues, ((0,), (1, 2)) for example."
        )


def _require_untouched(
    name: str, what: str, after: tuple[Array | None, ...], kept: tuple[Array | None, ...]
) -> None:
    if any(b is not None and not is_unchanged(a, b) for a, b in zip(after, kept, strict=True)):
        raise AssertionError(f"{name}: its {what}, which belong to the caller, are written into.")


def _require_like(name: str, gradients: Arrays, arrays: Arrays) -> None:
    """Finite gradients in the shapes of the arrays."""
    for a, g in zip(arrays, gradients, strict=True):
        if tuple(g.shape) != tuple(a.shape):
            raise AssertionError(
                f"{name}: the gradient has shape {tuple(g.shape)}, and {tuple(a.shape)} is needed."
            )
        _require_finite(name, "gradient", g)


def _require_repeated(name: str, gradients: Arrays, again: Arrays, allowed: float) -> None:
    for first, second in zip(gradients, again, strict=True):
        if not _length(first - second) <= allowed * _length(first):
            raise AssertionError(
                f"{name}: the pullback gives another gradient when it is called again: some part writes into "
                "arrays that it is given, such as the eigenvalues."
            )


def _require_hermitian(name: str, gradients: Arrays, allowed: float) -> None:
    for g in gradients:
        if not _length(g - adjoint(g)) <= allowed * _length(g):
            raise AssertionError(
                f"{name}: the gradient is not Hermitian, which that of a Hermitian matrix is: take its "
                "Hermitian part."
            )


def _require_adjoint(
    name: str, slope: float, cotangents: tuple[Array | None, ...], tangents: Arrays, allowed: float
) -> None:
    """``Re <cotangents, tangents>`` is the slope."""
    forward = 0.0
    for g, t in zip(cotangents, tangents, strict=True):
        if g is not None and t is not None:
            _require_finite(name, "tangent from jvp", t)
            forward += _inner(g, t)
    if not abs(slope - forward) <= allowed:
        raise AssertionError(
            f"{name}: vjp and jvp are not adjoint: {slope:.12g} and {forward:.12g} differ by "
            f"{abs(slope - forward):.3g}, and {allowed:.3g} is allowed."
        )


def _require_slope(
    name: str, slope: float, at: Callable[[float], float], step: float, allowed: float
) -> None:
    """The central difference of the loss is the slope."""
    difference = (at(step) - at(-step)) / (2 * step)
    if not abs(slope - difference) <= allowed:
        raise AssertionError(
            f"{name}: the pullback says {slope:.12g} and finite differences {difference:.12g}; they "
            f"differ by {abs(slope - difference):.3g}, and {allowed:.3g} is allowed."
        )


def _require_finite(name: str, what: str, x: Array) -> None:
    if not bool(namespace(x).all(namespace(x).isfinite(x))):
        raise AssertionError(f"{name}: the {what} is not finite.")


def _direction(a: Array, scale: float, hermitian: bool, generator: np.random.Generator) -> Array:
    """A random direction of about the size of the matrices."""
    random = random_like(a, generator)
    direction = hermitian_part(random) if hermitian else random
    return direction * (scale / max(a.shape[-1], 1) ** 0.5)


def _widened(a: Array) -> Array:
    xp = namespace(a)
    wide = xp.astype(a, xp.complex128 if is_complex(a) else xp.float64)
    require_precision(wide, "complex128" if is_complex(a) else "float64")
    return wide


def _inner(first: Array, second: Array) -> float:
    xp = namespace(first)
    product = xp.conj(first) * second if is_complex(first) else first * second
    return float(real_part(xp.sum(product)))


def _largest(a: Array) -> float:
    """The largest magnitude, 0 if there is none."""
    xp = namespace(a)
    return 0.0 if 0 in a.shape else float(xp.max(xp.abs(a)))


def _length(a: Array) -> float:
    xp = namespace(a)
    largest = _largest(a)
    if largest == 0:
        return 0.0
    return largest * float(xp.sqrt(xp.sum(xp.abs(a / largest) ** 2)))


def _as_tuple(output: Any) -> Arrays:
    return output if isinstance(output, tuple) else (output,)
