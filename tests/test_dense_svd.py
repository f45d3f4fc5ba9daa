"""The eigendecomposition by singular values, as in the papers: signs, and where they cannot be known."""

import numpy as np
import pytest

from specgrad import DenseEigh, DenseSVD, Fallback, eigh
from specgrad.testing import SPECTRA, check_solver, random_hermitian

pytestmark = pytest.mark.eager

SEMIDEFINITE = tuple(spectrum for spectrum in SPECTRA if spectrum.is_semidefinite(16))


def test_residuals_of_the_svd_on_semidefinite_spectra(backend, dtype):
    assert len(SEMIDEFINITE) > 12
    choices = {"device": backend.device, "sizes": (1, 2, 12), "dtypes": (dtype,)}
    check_solver(DenseSVD(), backend.xp, spectra=SEMIDEFINITE, **choices)


def test_the_svd_gives_nan_where_it_cannot_know_the_sign(backend, double):
    basis = np.linalg.eigh(random_hermitian(4, double, np.random.default_rng(0)))[1]
    spectra = np.array([[1.0, -1.0, 2.0, -2.0], [1.0, -0.5, 2.0, -2.5]])
    a = basis * spectra[:, None, :] @ basis.conj().T
    a = (a + a.conj().swapaxes(-1, -2)) / 2
    values = backend.numpy(DenseSVD().solve(backend.array(a))[0])
    assert np.isnan(values[0]).any()
    np.testing.assert_allclose(values[1], [-2.5, -0.5, 1.0, 2.0], atol=1e-14)
    solver = Fallback(DenseSVD(), DenseEigh())
    values = backend.numpy(eigh(backend.array(a), solver=solver).eigenvalues)
    np.testing.assert_allclose(values[0], [-2.0, -1.0, 1.0, 2.0], atol=1e-14)


def test_the_svd_recovers_signs(backend, dtype):
    a = random_hermitian(6, dtype, np.random.default_rng(0))
    values = backend.numpy(DenseSVD().solve(backend.array(a))[0])
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a), rtol=0, atol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("angle", [0.44, 0.1, 1e-3])
@pytest.mark.parametrize("apart", [0.0, 1e-15, 1e-9])
def test_a_singular_value_decomposition_passes_off_no_mixture_for_eigenvectors(backend, angle, apart):
    """Of eigenvalues of opposite sign and nearly equal magnitude, which share singular vectors."""
    c, s = np.cos(angle), np.sin(angle)
    a = np.array([[c, s], [s, -c]]) * np.array([[1.0, 1.0], [1.0, 1.0 - apart]])
    values, vectors = (backend.numpy(x) for x in DenseSVD().solve(backend.array(a)))
    error = np.max(abs(a @ vectors - vectors * values), axis=0)
    assert np.all(np.isnan(values) | (error <= 2 * np.finfo(float).eps ** 0.75))
    safe = eigh(backend.array(a), solver=Fallback(DenseSVD(), DenseEigh())).eigenvalues
    np.testing.assert_allclose(backend.numpy(safe), np.linalg.eigvalsh(a), rtol=1e-14)


def test_a_singular_value_decomposition_takes_indefinite_matrices_whose_eigenvalues_are_apart(backend, dtype):
    for n in (3, 40):
        for scale in (1.0, 1e-30):
            spread = np.geomspace(1.0, 0.02, n) * np.where(np.arange(n) % 2, -1, 1)
            a = backend.array((scale * np.diag(spread)).astype(dtype))
            found = backend.numpy(eigh(a, solver=DenseSVD()).eigenvalues)
            np.testing.assert_allclose(found, np.sort(scale * spread), rtol=64 * np.finfo(dtype).eps)


def conjugated(values):
    """A matrix with these eigenvalues."""
    basis = np.linalg.eigh(random_hermitian(5, "float64", np.random.default_rng(0)))[1]
    a = (basis * np.array(values)) @ basis.T
    return (a + a.T) / 2


def test_the_svd_finds_signs_of_values_that_nearly_agree(backend):
    values, _ = DenseSVD().solve(backend.array(conjugated([1.0, -0.999, 3.0, 4.0, 5.0])))
    np.testing.assert_allclose(backend.numpy(values), [-0.999, 1.0, 3.0, 4.0, 5.0], rtol=1e-10)


def test_the_svd_takes_matrices_below_the_range_of_full_precision(backend):
    values, _ = DenseSVD().solve(backend.array(conjugated([1.0, 2.0, 3.0, 4.0, 5.0]) * 1e-315))
    assert np.isfinite(backend.numpy(values)).all()


def test_the_svd_loses_those_eigenpairs_alone_whose_signs_it_cannot_know(backend):
    a = np.diag([0.0, 0.5, 1.0, 0.0])
    a[0, 3] = a[3, 0] = 2.0  # eigenvalues 2 and -2
    values, _ = DenseSVD().solve(backend.array(a))
    np.testing.assert_array_equal(backend.numpy(values), [0.5, 1.0, np.nan, np.nan])
