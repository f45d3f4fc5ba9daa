"""What a gap rule must satisfy, property by property."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from specgrad._array import as_column, as_row, differences, magnitude_scale, off_diagonal
from specgrad._namespace import eps, namespace
from specgrad._typing import Array
from specgrad.gaps import GapRule

__all__ = [
    "GAP_PROPERTIES",
    "GapProperty",
    "antisymmetry",
    "batches",
    "bound_holds",
    "finite_with_floor",
    "permutation_equivariance",
    "scale_equivariance",
    "sign",
    "wide_gaps",
    "zero_diagonal",
]

GapProperty: TypeAlias = Callable[[GapRule, Array], None]

# Entries are a few operations away from the eigenvalues; each rounds once.
_ROUNDINGS = 64

# What counts as small beside the largest eigenvalue, and how close to 1/gap a rule is there. Rules differ
# wherever eigenvalues are comparable, and a series in their ratio is right where that is small.
_SMALL = 1 / 64
_CLOSE = 1 / 16


def zero_diagonal(rule: GapRule, values: Array) -> None:
    """``matrix(values)`` has shape (..., n, n), the dtype of the values, and zeros on its diagonal."""
    pairs = rule.matrix(values)
    n = values.shape[-1]
    if tuple(pairs.shape) != (*values.shape, n) or pairs.dtype != values.dtype:
        raise AssertionError(
            f"the pair matrix has shape {tuple(pairs.shape)} and dtype {pairs.dtype}, and "
            f"{(*values.shape, n)} and {values.dtype} are needed."
        )
    xp = namespace(values)
    largest = float(xp.max(xp.abs(xp.where(off_diagonal(values), 0.0, pairs))))
    if largest != 0:  # NaN fails
        raise AssertionError(f"an entry of the diagonal is {largest}, and 0 is needed.")


def bound_holds(rule: GapRule, values: Array) -> None:
    """No magnitude of an entry exceeds ``bound(values)``, and none is NaN, whatever the bound."""
    xp = namespace(values)
    pairs, bound = rule.matrix(values), rule.bound(values)
    if tuple(bound.shape) != tuple(values.shape[:-1]):
        raise AssertionError(
            f"the bound has shape {tuple(bound.shape)}, and {tuple(values.shape[:-1])} is needed."
        )
    largest = xp.max(xp.abs(pairs), axis=(-2, -1))
    allowed = bound * (1 + _ROUNDINGS * eps(values))
    fails = ~(largest <= allowed)  # NaN fails
    if bool(xp.any(fails)):
        measured, stated = (float(xp.max(xp.where(fails, x, 0.0))) for x in (largest, bound))
        raise AssertionError(f"the largest entry is {measured:.9g}, and the bound is {stated:.9g}.")


def sign(rule: GapRule, values: Array) -> None:
    """Entries have the sign of ``values[j] - values[i]`` or are 0; ties, which have no sign, do not count."""
    xp = namespace(values)
    gaps = differences(values)
    products = xp.where(gaps == 0, 0.0, rule.matrix(values) * gaps)
    if not bool(xp.all(products >= -_ROUNDINGS * eps(values))):  # NaN fails
        smallest = float(xp.min(products))
        raise AssertionError(
            f"an entry times its gap, values[j] - values[i], is {smallest:.3g}, and at least 0 is needed."
        )


def wide_gaps(rule: GapRule, values: Array) -> None:
    """Entries are ``1/(values[j] - values[i])`` to 1/16 between the largest value and those up to 1/64 of it.

    Magnitudes count, in units in which the largest is 1. Spectra without such a pair, and ties of the
    largest, say nothing.
    """
    xp = namespace(values)
    largest, magnitudes = magnitude_scale(values), xp.abs(values)
    leads, small = magnitudes == largest, magnitudes <= _SMALL * largest
    # A rule of leading values may choose among a tie.
    leads = leads & (xp.sum(xp.astype(leads, values.dtype), axis=-1, keepdims=True) == 1)
    wide = (as_row(leads) & as_column(small)) | (as_column(leads) & as_row(small))
    scaled = values / largest
    products = xp.where(wide, rule.matrix(scaled) * differences(scaled), 1.0)
    lowest, highest = float(xp.min(products)), float(xp.max(products))
    if not (lowest >= 1 - _CLOSE and highest <= 1 + _CLOSE):  # NaN fails
        measured = highest if lowest >= 1 - _CLOSE else lowest
        raise AssertionError(
            f"an entry times its gap, values[j] - values[i], is {measured:.3g} where the gap is wide, "
            f"and 1 to within {_CLOSE:g} is needed."
        )


def antisymmetry(rule: GapRule, values: Array) -> None:
    """``matrix(values)`` changes its sign under transposition."""
    pairs = rule.matrix(values)
    _require_close(-pairs.mT, pairs, "the pair matrix and minus its transpose")


def permutation_equivariance(rule: GapRule, values: Array) -> None:
    """Permuting the values permutes rows and columns, also among equal values."""
    xp = namespace(values)
    n = values.shape[-1]
    for numbers in (np.arange(n)[::-1].copy(), np.random.default_rng(0).permutation(n)):
        order = xp.asarray(numbers, device=values.device)
        pairs = xp.take(xp.take(rule.matrix(values), order, axis=-1), order, axis=-2)
        permuted = rule.matrix(xp.take(values, order, axis=-1))
        _require_close(permuted, pairs, "the pair matrices before and after a permutation")


def scale_equivariance(rule: GapRule, values: Array) -> None:
    """``matrix(c * values)`` is ``matrix(values) / c``."""
    for scale in (2.0**-20, 2.0**20):
        scaled = rule.matrix(scale * values) * scale
        _require_close(scaled, rule.matrix(values), f"the pair matrices at scales 1 and {scale:g}")


def finite_with_floor(rule: GapRule, values: Array) -> None:
    """A rule whose field ``noise`` is not None has a `RoundingFloor` there, and entries that are finite."""
    noise = getattr(rule, "noise", None)
    if noise is None:
        return
    if not (hasattr(noise, "signal") and hasattr(noise, "signal_vjp")):
        raise AssertionError(f"its noise is {noise!r}, and a RoundingFloor or None is needed.")
    xp = namespace(values)
    if not bool(xp.all(xp.isfinite(rule.matrix(values)))):
        raise AssertionError(
            "an entry is not finite, and the rule has a rounding floor, which multiplies it by 0 where the "
            "cotangent is rounding: make it finite, such as 0 at ties."
        )


def batches(rule: GapRule, values: Array) -> None:
    """Each spectrum of a batch is treated as alone, whatever the batch axes, and a batch may be empty."""
    xp = namespace(values)
    # A spectrum alone costs as much as a batch, so not every one; of the named ones, all scales are left.
    one_axis = values[::6, ...] if values.ndim > 1 else values[None, ...]
    two_axes = xp.stack([one_axis, xp.flip(one_axis, axis=0)])
    for of, what in ((rule.matrix, "the pair matrices"), (rule.bound, "the bounds")):
        alone = xp.stack([of(one_axis[k, ...]) for k in range(one_axis.shape[0])])
        _require_close(of(one_axis), alone, f"{what} of a batch and of each spectrum alone")
        both = xp.stack([alone, xp.flip(alone, axis=0)])
        _require_close(of(two_axes), both, f"{what} of a batch with two axes and of each spectrum alone")
        _require_close(of(one_axis[:0, ...]), alone[:0, ...], f"{what} of an empty batch and of no spectrum")


GAP_PROPERTIES: tuple[GapProperty, ...] = (
    zero_diagonal,
    bound_holds,
    sign,
    wide_gaps,
    antisymmetry,
    permutation_equivariance,
    scale_equivariance,
    finite_with_floor,
    batches,
)
"""What `check_gap` checks, in this order."""


def _require_close(first: Array, second: Array, what: str) -> None:
    """Shapes and entries agree, or entries are not finite in both."""
    if tuple(first.shape) != tuple(second.shape):
        raise AssertionError(f"{what} have shapes {tuple(first.shape)} and {tuple(second.shape)}.")
    xp = namespace(first)
    finite = xp.isfinite(first) & xp.isfinite(second)
    if not bool(xp.all(finite | (xp.isfinite(first) == xp.isfinite(second)))):
        raise AssertionError(f"{what} differ in where they are finite.")
    largest = xp.where(finite, xp.maximum(xp.abs(first), xp.abs(second)), 0.0)
    distance = xp.where(finite, xp.abs(first - second), 0.0)
    excess = distance - _ROUNDINGS * eps(first) * largest
    if bool(xp.any(excess > 0)):
        worst = float(xp.max(xp.where(excess > 0, distance, 0.0)))
        size = float(xp.max(largest))
        raise AssertionError(f"{what} differ by up to {worst:.3g}, with entries up to {size:.3g}.")
