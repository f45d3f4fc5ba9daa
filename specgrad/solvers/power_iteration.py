"""Power iteration with deflation, as published, with the derivative of its own steps."""

import random
from dataclasses import dataclass
from functools import lru_cache

from specgrad._array import device, hermitian_part, take_columns
from specgrad._namespace import namespace
from specgrad._require import require_whole
from specgrad._typing import Array
from specgrad.derivatives import power_iteration

__all__ = ["PowerIteration"]


@dataclass(frozen=True)
class PowerIteration:
    """The papers' PI baseline: random start, `steps` products per eigenvector, deflation.

    The derivative runs through every step and every deflation. As in the papers it is left to fail as
    it fails: on close eigenvalues it does not converge, its error accumulates over deflations, on a
    singular matrix it divides by zero, and norms are formed from squares, which leave the range of float32
    for entries beyond 1e19. Use it to compare with, not to compute with.

    Parameters
    ----------
    steps : int, default 19
        Products per eigenvector.
    seed : int, default 0
        Of the starting vectors, which all matrices of a batch share.

    Raises
    ------
    TypeError, ValueError
        If `steps` is no number, or no integer of at least 1, or `seed` none of at least 0.

    References
    ----------
    Wang, Dang, Hu, Fua and Salzmann, NeurIPS 2019, Algorithm 1 and the baseline "PI".

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import PowerIteration, eigh
    >>> eigh(np.diag([4.0, 1.0]), solver=PowerIteration(30)).eigenvalues.round(6)
    array([1., 4.])
    """

    steps: int = 19
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(1, self, "steps")
        require_whole(0, self, "seed")

    def solve(self, a: Array) -> tuple[Array, Array]:
        values, vectors = power_iteration.forward(hermitian_part(a), self._starts(a), self.steps)
        return take_columns(_ascending(values), values, vectors)

    def vjp(self, a: Array, cotangents: tuple[Array | None, Array | None]) -> Array:
        """The cotangent of `a`, through the steps; iterates are computed again."""
        xp, a = namespace(a), hermitian_part(a)
        starts = self._starts(a)
        values, vectors = power_iteration.forward(a, starts, self.steps)
        values_cotangent, vectors_cotangent = cotangents
        values_cotangent = xp.zeros_like(values) if values_cotangent is None else values_cotangent
        vectors_cotangent = xp.zeros_like(vectors) if vectors_cotangent is None else vectors_cotangent
        original = xp.argsort(_ascending(values), axis=-1)
        ordered = take_columns(original, values_cotangent, vectors_cotangent)
        return power_iteration.vjp(a, starts, self.steps, *ordered)

    def jvp(self, a: Array, tangent: Array) -> tuple[Array, Array]:
        """The tangents of eigenvalues and eigenvectors, through the steps."""
        a, tangent = hermitian_part(a), hermitian_part(tangent)
        starts = self._starts(a)
        values, _ = power_iteration.forward(a, starts, self.steps)
        tangents = power_iteration.jvp(a, starts, self.steps, tangent)
        return take_columns(_ascending(values), *tangents)

    def _starts(self, a: Array) -> Array:
        xp = namespace(a)
        numbers = _standard_normal(self.seed, int(a.shape[-1]))  # of a compiler, its symbol
        starts = xp.asarray(numbers, dtype=a.dtype, device=device(a))
        return xp.reshape(starts, a.shape[-2:])


def _ascending(values: Array) -> Array:
    return namespace(values).argsort(values, axis=-1)


@lru_cache(maxsize=32)
def _standard_normal(seed: int, size: int) -> tuple[float, ...]:
    # The array API has no random numbers, and the same seed should mean the same start in every library.
    draw = random.Random(seed)
    return tuple(draw.gauss(0.0, 1.0) for _ in range(size * size))
