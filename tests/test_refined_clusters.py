"""Refinement of close eigenvalues: in clusters, just too far apart for one, and in exact ties."""

import numpy as np
import pytest
from eigenpair_oracle import errors, exact_eigenpairs, mpmath
from refined_cases import COUPLING, N, Spoiled, orthonormality, solved

from specgrad import DenseEigh, DenseSVD, Refined
from specgrad.testing import Spectrum

pytestmark = pytest.mark.eager


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("gap", [1e-8, 1e-9, 1.3e-10, 1e-10, 1e-11, 4e-12, 1e-12, 1e-13, 1e-14])
def test_close_eigenvectors_are_as_good_as_what_a_step_leaves_between_them(backend, double, gap, steps):
    # The worst gaps are just too wide for a cluster; narrower ones must be inside one.
    rounding = float(np.finfo(double).eps)
    even = Spectrum(f"three {gap} apart", lambda n, precision, generator: 1 + gap * np.arange(float(n)))
    for seed in range(5):
        matrix, *exact = exact_eigenpairs(even, 3, double, seed)
        found = errors(solved(Refined(DenseEigh(), steps), backend, matrix), exact)[1]
        assert np.max(found) <= 4 * rounding + 3 * rounding ** COUPLING[steps] / gap, seed


def test_a_tight_cluster_is_decomposed_on_its_own_scale(backend, double):
    """Five eigenvalues within 1e-13, whose vectors the input solver mixes at random."""
    close = Spectrum("tight", lambda n, _, generator: np.r_[0.3, 1 + 1e-13 * np.array([0, 1, 2.5, 3.5, 5])])
    matrix, *exact = exact_eigenpairs(close, N, double)
    assert np.max(errors(solved(DenseEigh(), backend, matrix), exact)[1]) > 1e-4
    assert np.max(errors(solved(Refined(), backend, matrix), exact)[1]) < 1e3 * np.finfo(double).eps


def test_exact_ties_divide_nothing(backend, dtype):
    for diagonal in (
        [0.0] * N,
        [2.0] * N,
        [1.0, 3.0, 3.0, 3.0, 4.0, 4.0],
        [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0],
        [5.0, 5.0, 5.0, 5.0, 5.0 + 1e-6, 7.0],
    ):
        matrix = np.diag(diagonal).astype(dtype)
        values, vectors = solved(Refined(DenseEigh(), 2), backend, matrix)
        np.testing.assert_array_equal(values, np.sort(np.real(np.diagonal(matrix))))
        assert orthonormality(vectors) == 0


def test_clusters_of_two_scales_are_both_decomposed():
    """Pairs about 2^-36 and 2^-90 apart, whose vectors the input solver mixes."""
    matrix = np.zeros((4, 4))
    matrix[:2, :2] = np.eye(2) + 2.0**-36 * np.array([[1.0, 0.5], [0.5, 0.25]])
    matrix[2:, 2:] = 2.0**-90 * np.array([[1.0, 0.5], [0.5, -0.25]])
    with mpmath.workdps(60):
        values, vectors = mpmath.eigsy(mpmath.matrix(matrix.tolist()))
    exact = np.array(list(values)), np.array(vectors.tolist())
    mixing = Spoiled(np.kron(np.eye(2), [[0.6, 0.8], [-0.8, 0.6]]), only=matrix)
    assert np.max(errors(Refined(mixing).solve(matrix), exact)[1]) < 4 * np.finfo("float64").eps


def test_the_svd_decomposes_a_cluster_of_opposite_corrections(backend, double):
    # Two eigenvalues are 1 as rounded, and their corrections have equal magnitudes: all that an SVD tells.
    matrix = np.diag([1, 1, 2, 3, 4, 5]).astype(double)
    matrix[0, 1] = matrix[1, 0] = 2.0**-60
    _, vectors = solved(Refined(DenseSVD()), backend, matrix)
    np.testing.assert_allclose(abs(vectors[:2, :2]), 0.5**0.5, rtol=1e-14)


def test_values_ascend_where_corrections_round_ties_apart(backend, double):
    # Five eigenvalues of 1, and one close to the middle between 1 and the next number.
    for v in np.random.default_rng(0).integers(-2, 3, (30, N)):
        matrix = (np.eye(N) + 2.0**-54 * np.outer(v, v)).astype(double)
        assert np.all(np.diff(solved(Refined(), backend, matrix)[0]) >= 0)
