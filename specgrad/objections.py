r"""What a loss says that the matrix does not determine, where it can be seen.

Eigenvectors are defined up to a phase each, and inside a repeated eigenvalue up to a rotation. A loss
has a gradient in `A` only if it does not depend on that choice: with ``X = V^H gV``,
``imag(diag(X)) = 0``, and ``X`` has no anti-Hermitian part inside a tie. The part that violates this
has no derivative in any library. A loss of ``V f(L) V^H``, composed from both, may have a gradient, but the
part of it inside a tie is in neither cotangent: what tells of it are unequal ``gl`` of equal eigenvalues.
"""

from typing import TypeAlias

from specgrad._array import adjoint, as_column, as_row, differences
from specgrad._namespace import eps, is_complex, namespace
from specgrad._places import first_index, place
from specgrad._typing import Array
from specgrad.bind import Viewer
from specgrad.gaps import MaskedCut, MaskedGap

__all__ = ["Cotangents", "cuts_a_tie", "objection_to", "offending_part"]

Cotangents: TypeAlias = tuple[Array | None, Array]
"""``gl``, None for zero, and ``gV``."""

# What counts as a tie does so for the default rules too.
_TIES, _CUT = MaskedGap(), MaskedCut()

_DEPENDS = (
    "The loss depends on the phase of an eigenvector, or on the basis inside a repeated eigenvalue (one "
    "within {width:.0e} of the largest; in a metric, within its rounding), which the matrix does not "
    "determine: a part of relative size {size:.1e} of the cotangent of the eigenvectors at {place}, whose "
    "largest entry is {largest:.1e}, has no gradient, and what the gap rule makes of it is arbitrary (the "
    "default makes it 0 within that width). Write the loss in projectors v v^H of whole clusters, or with a "
    "matrix function; gauge=RaiseGauge() finds the place, gauge=ProjectGauge() removes the part. (Where the "
    "loss is stationary in the eigenvectors, their cotangent is rounding alone, and nothing is lost.)"
)
_UNEVEN = (
    "The loss looks at eigenvectors of a repeated eigenvalue (one within {width:.0e} of the largest; in a "
    "metric, within its rounding) at {place}, and weighs its copies differently, as one of V f(l) V^H does: "
    "the part of its gradient between these eigenvectors is lost. Use a matrix function in place of the "
    "composition, such as sqrtm(a) or matrix_function(a, FromDerivative(f, derivative)), or sqrtm(a) @ V "
    "with a constant V in place of V sqrt(l); in a metric B, W f(W A W) W with W = inv_sqrtm(B). "
    "gauge=RaiseGauge() finds the place."
)


def objection_to(
    values: Array, vectors: Array, cotangents: Cotangents, viewer: Viewer, tolerance: float | None
) -> str | None:
    """What is wrong with the cotangents, where it can be seen and is not rounding."""
    seen = viewer.view(values)
    if seen is None:
        return None
    may_have_ties = _may_have_ties(seen)
    if not is_complex(vectors) and not may_have_ties:
        return None  # a gauge of signs alone, which no gradient meets
    given = (vectors, *cotangents)
    views = [None if array is None else viewer.view(array) for array in given]
    if any(array is not None and view is None for array, view in zip(given, views, strict=True)):
        return None
    seen_vectors, g_values, g_vectors = views
    dependence = _dependence(seen, seen_vectors, g_vectors, tolerance)
    if dependence is None and may_have_ties:
        return _unevenness(seen, g_values, g_vectors, tolerance)
    return dependence


def offending_part(values: Array, inner: Array) -> Array:
    """The anti-Hermitian part of ``X`` inside ties, the diagonal included."""
    xp = namespace(values)
    tied = xp.abs(differences(values)) <= as_row(_TIES.tie_width(values))
    return xp.where(tied, 0.5 * inner - adjoint(0.5 * inner), 0.0)


def cuts_a_tie(values: Array, rank: Array, but_at_zero: bool) -> bool:
    """Whether the first `rank` (...) of eigenvalues (..., n) end among ones of equal magnitude.

    Both arrays must be readable. What is 0 to rounding is equal to no other than that.
    """
    xp, size = namespace(values), values.shape[-1]
    if bool(xp.all(rank == size)):
        return False
    magnitudes, position = xp.abs(values), xp.astype(rank, xp.int64)[..., None]
    after = xp.where(position < size, position, 0)
    last, next_one = (xp.take_along_axis(magnitudes, p, axis=-1) for p in (position - 1, after))
    zero = size * eps(values) * magnitudes[..., :1]
    width = _CUT.width(last, magnitudes[..., :1], values)
    tied = (position < size) & (last - next_one <= width) & (last > zero)
    if not but_at_zero:
        tied = tied | ((position < size) & (last <= zero))
    return bool(xp.any(tied))


def _dependence(values: Array, vectors: Array, cotangent: Array, tolerance: float | None) -> str | None:
    """The relative size of the offending part, and where it is, unless it is rounding."""
    xp = namespace(values)
    cotangent = xp.where(xp.isfinite(cotangent), cotangent, 0.0)  # others have no size
    offending = xp.max(xp.abs(offending_part(values, adjoint(vectors) @ cotangent)), axis=(-2, -1))
    largest = xp.max(xp.abs(cotangent), axis=(-2, -1))
    size = values.shape[-1] ** 0.5 * largest
    wrong = offending > (eps(values) ** 0.5 if tolerance is None else tolerance) * size
    if not bool(xp.any(wrong)):
        return None
    index = first_index(wrong)
    return _DEPENDS.format(
        width=_TIES.width(1.0, values),
        size=float(offending[index]) / float(size[index]),
        largest=float(largest[index]),
        place=place(index),
    )


def _unevenness(
    values: Array, values_cotangent: Array | None, vectors_cotangent: Array, tolerance: float | None
) -> str | None:
    """Where the loss weighs equal eigenvalues differently whose eigenvectors it looks at too."""
    if values_cotangent is None:
        return None
    xp, magnitudes = namespace(values), namespace(values).abs(values)
    largest = as_row(xp.max(magnitudes, axis=-1, keepdims=True))
    larger = xp.maximum(as_row(magnitudes), as_column(magnitudes))
    # Zeros are no copies: in a covariance of few samples the data have no part in their eigenvectors.
    equal = (xp.abs(differences(values)) <= as_row(_TIES.tie_width(values))) & (
        larger > values.shape[-1] * eps(values) * largest
    )
    weights = xp.where(xp.isfinite(values_cotangent), values_cotangent, 0.0)
    allowed = eps(values) ** 0.25 if tolerance is None else tolerance
    unequal = xp.abs(differences(weights)) > allowed * as_row(xp.max(xp.abs(weights), axis=-1, keepdims=True))
    looked_at = xp.any(vectors_cotangent != 0, axis=-2)
    wrong = xp.any(equal & unequal & as_row(looked_at) & as_column(looked_at), axis=(-2, -1))
    if not bool(xp.any(wrong)):
        return None
    return _UNEVEN.format(width=_TIES.width(1.0, values), place=place(first_index(wrong)))


def _may_have_ties(values: Array) -> bool:
    """Whether any matrix of the batch may have a tie; `values` must be readable."""
    if 0 in values.shape or values.shape[-1] == 1:
        return False
    xp = namespace(values)
    magnitudes = xp.abs(values)
    # Ascending or by magnitude, equal eigenvalues are neighbours. One width for the batch is wide enough.
    smallest = float(xp.min(xp.abs(magnitudes[..., 1:] - magnitudes[..., :-1])))
    # The way round that is no for NaN, which one matrix may have and the others not.
    return not smallest > _TIES.width(float(xp.max(magnitudes)), values)
