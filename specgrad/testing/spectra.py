"""Named spectra on which solvers and gradients go wrong, as frozen values.

The first 18 are the kinds of matrices on which LAPACK tests its own symmetric eigenvalue drivers
(``DDRVST``); the others are the ones where gradients, rather than solvers, have their difficulties.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from specgrad.testing.matrices import Matrix, banded, dense, diagonal

__all__ = ["GAP_SWEEP", "LAPACK_SPECTRA", "SPECTRA", "Spectrum", "gap_spectrum"]

Structure: TypeAlias = Callable[[Matrix, DTypeLike, np.random.Generator], Matrix]


@dataclass(frozen=True)
class Spectrum:
    """A kind of spectrum, for every size and precision, and the structure of the matrices that have it.

    Parameters
    ----------
    name : str
        Appears in the messages of failing checks.
    values : callable
        ``values(n, precision, generator)`` gives n eigenvalues in any order; `precision` is the
        `numpy.finfo` of the (real) dtype.
    structure : callable, default dense
        `dense`, `diagonal`, `banded`, or any function of the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import Spectrum
    >>> ones_and_zero = Spectrum("one zero", lambda n, precision, generator: np.arange(n) > 0)
    >>> ones_and_zero.eigenvalues(3)
    array([0., 1., 1.])
    >>> ones_and_zero.matrix(3, np.complex64).dtype
    dtype('complex64')
    """

    name: str
    values: Callable[[int, "np.finfo[Any]", np.random.Generator], Matrix]
    structure: Structure = dense

    def __str__(self) -> str:
        return self.name

    def eigenvalues(self, n: int, dtype: DTypeLike = np.float64, seed: int = 0) -> Matrix:
        """The eigenvalues, ascending, in double precision; `dtype` is the one they are meant for."""
        return np.sort(self._draw(n, dtype, np.random.default_rng(seed)))

    def matrix(self, n: int, dtype: DTypeLike = np.float64, seed: int = 0) -> Matrix:
        """An exactly Hermitian matrix of shape (n, n) that has these eigenvalues up to rounding."""
        generator = np.random.default_rng(seed)
        return self.structure(self._draw(n, dtype, generator), dtype, generator)

    def is_semidefinite(self, n: int, dtype: DTypeLike = np.float64, seed: int = 0) -> bool:
        """Whether no eigenvalue is negative."""
        return bool(np.all(self.eigenvalues(n, dtype, seed) >= 0))

    def _draw(self, n: int, dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
        return np.asarray(self.values(n, np.finfo(dtype), generator), dtype=np.float64)


def gap_spectrum(gap: float, structure: Structure = dense) -> Spectrum:
    """Two leading eigenvalues a given distance apart, ``1 - gap`` and 1; the others in [0.1, 0.6].

    The subspace of the two stays well separated from the rest at every gap, so losses of it have
    gradients that do not notice the gap.

    Parameters
    ----------
    gap : float
        In [0, 0.3].
    structure : callable, default dense

    Examples
    --------
    >>> gap_spectrum(1e-3).eigenvalues(4)
    array([0.1  , 0.6  , 0.999, 1.   ])
    """
    return Spectrum(f"gap {gap:g}", partial(_leading_pair, gap), structure)


def _arithmetic(n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    return np.asarray(np.linspace(1.0, float(precision.eps), n))


def _geometric(n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    return np.asarray(np.geomspace(1.0, float(precision.eps), n))


def _clustered(n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    return np.where(np.arange(n) == 0, 1.0, float(precision.eps))


def _random_entries(n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    entries = np.tril(generator.uniform(-1, 1, (n, n)))
    return np.asarray(np.linalg.eigvalsh(entries + np.tril(entries, -1).T))


def _signed(
    values: Callable[..., Matrix], n: int, precision: "np.finfo[Any]", generator: np.random.Generator
) -> Matrix:
    signs = generator.choice([-1.0, 1.0], n)
    signs[n // 2 :][:1] = -1.0  # one at least
    return np.asarray(signs * values(n, precision, generator))


def _near_overflow(
    values: Callable[..., Matrix], n: int, precision: "np.finfo[Any]", generator: np.random.Generator
) -> Matrix:
    return np.asarray(values(n, precision, generator) * float(precision.max) ** 0.5)


def _near_underflow(
    values: Callable[..., Matrix], n: int, precision: "np.finfo[Any]", generator: np.random.Generator
) -> Matrix:
    return np.asarray(values(n, precision, generator) * float(precision.smallest_normal) ** 0.5)


def _constant(value: float, n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    return np.full(n, value)


def _leading_pair(gap: float, n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    pair_last = np.concatenate([np.linspace(0.1, 0.6, max(n - 2, 0)), [1 - gap, 1.0]])
    return np.asarray(pair_last[len(pair_last) - n :])


def _leading_tie(
    multiplicity: int, n: int, precision: "np.finfo[Any]", generator: np.random.Generator
) -> Matrix:
    values = np.minimum(np.arange(1.0, n + 1), max(1.0, n + 1.0 - multiplicity))
    return np.asarray(values / max(n, 1))


def _rank_deficient(n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    return np.where(np.arange(n) < (n + 1) // 2, np.linspace(1.0, 0.2, n), 0.0)


def _graded(n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    return np.asarray(np.geomspace(1e12, 1e-12, n))


def _tie_at_the_cut(n: int, precision: "np.finfo[Any]", generator: np.random.Generator) -> Matrix:
    position = np.arange(n)
    return 1.0 / (1.0 + np.where(position == n // 2, max(n // 2 - 1, 0), position))


_SIGNED_ARITHMETIC = partial(_signed, _arithmetic)
_SIGNED_GEOMETRIC = partial(_signed, _geometric)
_SIGNED_CLUSTERED = partial(_signed, _clustered)

LAPACK_SPECTRA: tuple[Spectrum, ...] = (
    Spectrum("LAPACK 1: zero", partial(_constant, 0.0), diagonal),
    Spectrum("LAPACK 2: identity", partial(_constant, 1.0), diagonal),
    Spectrum("LAPACK 3: diagonal, arithmetic", _SIGNED_ARITHMETIC, diagonal),
    Spectrum("LAPACK 4: diagonal, geometric", _SIGNED_GEOMETRIC, diagonal),
    Spectrum("LAPACK 5: diagonal, clustered", _SIGNED_CLUSTERED, diagonal),
    Spectrum("LAPACK 6: diagonal, near overflow", partial(_near_overflow, _SIGNED_GEOMETRIC), diagonal),
    Spectrum("LAPACK 7: diagonal, near underflow", partial(_near_underflow, _SIGNED_GEOMETRIC), diagonal),
    Spectrum("LAPACK 8: dense, arithmetic", _SIGNED_ARITHMETIC),
    Spectrum("LAPACK 9: dense, geometric", _SIGNED_GEOMETRIC),
    Spectrum("LAPACK 10: dense, clustered", _SIGNED_CLUSTERED),
    Spectrum("LAPACK 11: dense, near overflow", partial(_near_overflow, _SIGNED_ARITHMETIC)),
    Spectrum("LAPACK 12: dense, near underflow", partial(_near_underflow, _SIGNED_ARITHMETIC)),
    Spectrum("LAPACK 13: random entries", _random_entries),
    Spectrum("LAPACK 14: random entries, near overflow", partial(_near_overflow, _random_entries)),
    Spectrum("LAPACK 15: random entries, near underflow", partial(_near_underflow, _random_entries)),
    Spectrum("LAPACK 16: banded, arithmetic", _SIGNED_ARITHMETIC, banded),
    Spectrum("LAPACK 17: banded, geometric", _SIGNED_GEOMETRIC, banded),
    Spectrum("LAPACK 18: banded, clustered", _SIGNED_CLUSTERED, banded),
)
"""LAPACK's kinds, in LAPACK's numbering."""

GAP_SWEEP: tuple[Spectrum, ...] = tuple(
    gap_spectrum(gap) for gap in (1e-1, 1e-2, 1e-3, 1e-6, 1e-9, 1e-12, 1e-14, 0.0)
)
"""A pair of leading eigenvalues whose gap closes."""

SPECTRA: tuple[Spectrum, ...] = (
    *LAPACK_SPECTRA,
    *GAP_SWEEP,
    Spectrum("exact pair", partial(_leading_tie, 2), diagonal),
    Spectrum("exact triple", partial(_leading_tie, 3), diagonal),
    Spectrum("pair up to rounding", partial(_leading_tie, 2)),
    Spectrum("triple up to rounding", partial(_leading_tie, 3)),
    Spectrum("positive arithmetic", _arithmetic),
    Spectrum("positive geometric", _geometric),
    Spectrum("positive clustered", _clustered),
    Spectrum("rank deficient", _rank_deficient),
    Spectrum("graded", _graded),
    Spectrum("tie at the cut", _tie_at_the_cut, diagonal),
)
"""All named spectra. In "tie at the cut", the rank n//2 cuts between two equal eigenvalues."""
