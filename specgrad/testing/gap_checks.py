"""What a gap rule must satisfy, property by property."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from specgrad._array import eps, namespace, off_diagonal
from specgrad._typing import Array, Namespace
from specgrad.gaps import GapRule
from specgrad.testing.spectra import SPECTRA, Spectrum

__all__ = [
    "GAP_PROPERTIES",
    "antisymmetry",
    "bound_holds",
    "check_gap",
    "permutation_equivariance",
    "scale_equivariance",
    "zero_diagonal",
]

GapProperty: TypeAlias = Callable[[GapRule, Array], None]

# Entries are a few operations away from the eigenvalues; each rounds once.
_ROUNDINGS = 64


def check_gap(
    rule: GapRule,
    xp: Namespace,
    *,
    without: Sequence[GapProperty] = (),
    spectra: Sequence[Spectrum] = SPECTRA,
    sizes: Sequence[int] = (1, 2, 6),
    dtypes: Sequence[str] = ("float32", "float64"),
    device: object = None,
) -> None:
    """Check the properties of a gap rule on every named spectrum.

    Parameters
    ----------
    rule : GapRule
    xp : module
        Of the array library, with ``asarray`` of NumPy arrays: `numpy`, `torch`, `jax.numpy`, ...
    without : sequence of properties
        Those of `GAP_PROPERTIES` that the rule does not claim, such as `antisymmetry` for the published
        power iteration rule.
    spectra : sequence of Spectrum, default SPECTRA
    sizes : sequence of int
    dtypes : sequence of str
    device : device of the array library, optional

    Raises
    ------
    AssertionError
        With the spectrum, what was measured and what is allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import BroadenedGap
    >>> from specgrad.testing import check_gap
    >>> check_gap(BroadenedGap(width=1e-3), np)
    """
    for n in sizes:
        for dtype in dtypes:
            each = [
                xp.asarray(spectrum.eigenvalues(n, dtype).astype(dtype), device=device)
                for spectrum in spectra
            ]
            batch = namespace(each[0]).stack(each)
            for holds in GAP_PROPERTIES:
                if holds not in without and _failure(holds, rule, batch):
                    # One of the batch fails: say which, or that it takes the batch.
                    failures = (
                        (spectrum, _failure(holds, rule, x))
                        for spectrum, x in zip(spectra, each, strict=True)
                    )
                    name, failure = next(
                        ((f"'{spectrum}'", failure) for spectrum, failure in failures if failure),
                        ("a batch of spectra, and not alone", _failure(holds, rule, batch)),
                    )
                    raise AssertionError(f"{rule!r} on {name}, n = {n}, {dtype}: {failure}")


def _failure(holds: GapProperty, rule: GapRule, values: Array) -> str:
    """What is wrong, empty if nothing is."""
    try:
        with np.errstate(all="ignore"):  # infinities at ties are a rule's right
            holds(rule, values)
    except AssertionError as failure:
        return str(failure)
    return ""


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
    """No entry exceeds ``bound(values)``, and all are finite where that is."""
    xp = namespace(values)
    pairs, bound = rule.matrix(values), rule.bound(values)
    if tuple(bound.shape) != tuple(values.shape[:-1]):
        raise AssertionError(
            f"the bound has shape {tuple(bound.shape)}, and {tuple(values.shape[:-1])} is needed."
        )
    largest = xp.max(xp.abs(pairs), axis=(-2, -1))
    allowed = bound * (1 + _ROUNDINGS * eps(values))
    fails = xp.isfinite(bound) & ~(largest <= allowed)  # NaN fails
    if bool(xp.any(fails)):
        measured, stated = (float(xp.max(xp.where(fails, x, 0.0))) for x in (largest, bound))
        raise AssertionError(f"the largest entry is {measured:.9g}, and the bound is {stated:.9g}.")


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


GAP_PROPERTIES: tuple[GapProperty, ...] = (
    zero_diagonal,
    bound_holds,
    antisymmetry,
    permutation_equivariance,
    scale_equivariance,
)
"""What `check_gap` checks, in this order."""


def _require_close(first: Array, second: Array, what: str) -> None:
    """Entries agree, or are not finite in both."""
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
