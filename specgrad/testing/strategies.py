"""Hypothesis strategies that draw spectra and matrices."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from specgrad.testing._requirements import hypothesis
from specgrad.testing.matrices import Matrix, dense, diagonal
from specgrad.testing.spectra import SPECTRA, Spectrum

__all__ = ["hermitian_matrices", "spectra"]


def spectra(n: int | None = None) -> "hypothesis.strategies.SearchStrategy[Matrix]":
    """Draw eigenvalues: clusters of random width at random places, either sign, over 24 orders of magnitude.

    Shrinks towards few, equal and round numbers.

    Parameters
    ----------
    n : int, optional
        How many; drawn from 1 to 8 by default.

    Returns
    -------
    strategy for NumPy arrays, shape (n,)
        Float64, ascending.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> from specgrad.testing import spectra
    >>> @settings(max_examples=5, database=None)
    ... @given(spectra(3))
    ... def test(values):
    ...     assert values.shape == (3,)
    >>> test()
    """
    st = hypothesis.strategies
    sizes = st.integers(1, 8) if n is None else st.just(n)
    exponents = st.sampled_from([0, -16, -12, -8, -4, -2, -1])
    places = st.integers(-8, 8)
    scales = st.sampled_from([0, -12, -6, 6, 12])

    def combined(size: int) -> Any:
        return st.builds(
            _clusters,
            st.lists(st.tuples(places, places, exponents), min_size=size, max_size=size),
            scales,
        )

    return sizes.flatmap(combined)


def hermitian_matrices(
    n: int | None = None, dtype: DTypeLike = np.float64, named: Sequence[Spectrum] = SPECTRA
) -> "hypothesis.strategies.SearchStrategy[Matrix]":
    """Draw Hermitian matrices: of a named spectrum, or of a drawn one, dense or diagonal.

    Parameters
    ----------
    n : int, optional
        Size; drawn from 1 to 8 by default.
    dtype : floating dtype, default float64
    named : sequence of Spectrum, default SPECTRA

    Returns
    -------
    strategy for NumPy arrays, shape (n, n)
    """
    st = hypothesis.strategies
    seeds = st.integers(0, 2**16)
    sizes = st.integers(1, 8) if n is None else st.just(n)
    from_named = st.builds(Spectrum.matrix, st.sampled_from(tuple(named)), sizes, st.just(dtype), seeds)
    structures = st.sampled_from([diagonal, dense])
    from_drawn = st.builds(partial(_build, dtype), structures, spectra(n), seeds)
    return st.one_of(from_drawn, from_named)


def _clusters(members: list[tuple[int, int, int]], scale: int) -> Matrix:
    return np.sort([(place + offset * 10.0**width) * 10.0**scale for place, offset, width in members])


def _build(dtype: DTypeLike, structure: Any, values: Matrix, seed: int) -> Matrix:
    built: Matrix = structure(values, dtype, np.random.default_rng(seed))
    return built
