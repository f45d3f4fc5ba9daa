"""The material of the conformance kit, and what it needs."""

import subprocess
import sys

import numpy as np
import pytest

from specgrad.testing import (
    LAPACK_SPECTRA,
    SPECTRA,
    ClusterLoss,
    Spectrum,
    banded,
    cluster_gradient,
    gap_spectrum,
    random_hermitian,
    random_unitary,
    subspace_gradient,
)


def test_spectra_have_unique_names_and_the_eigenvalues_they_say():
    assert len({spectrum.name for spectrum in SPECTRA}) == len(SPECTRA)
    assert len(LAPACK_SPECTRA) == 18
    for spectrum in SPECTRA:
        for n in (1, 2, 3, 9):
            for dtype in ("float32", "complex128"):
                a = spectrum.matrix(n, dtype)
                assert a.dtype == dtype
                np.testing.assert_array_equal(a, a.conj().T)
                # In double precision, so that rounding to the dtype is all that differs.
                measured = np.linalg.eigvalsh(a.astype("complex128"))
                expected = spectrum.eigenvalues(n, dtype)
                assert len(expected) == n
                allowed = 64 * np.finfo(dtype).eps * max(np.max(np.abs(expected)), 0)
                np.testing.assert_allclose(measured, expected, rtol=0, atol=allowed)
                np.testing.assert_array_equal(a, spectrum.matrix(n, dtype))


def test_spectra_are_what_their_names_say(real):
    n, precision = 6, np.finfo(real)
    eps = float(precision.eps)
    of = {spectrum.name: spectrum.eigenvalues(n, real) for spectrum in SPECTRA}
    np.testing.assert_allclose(of["positive arithmetic"], np.linspace(eps, 1, n))
    np.testing.assert_allclose(of["positive geometric"], np.geomspace(eps, 1, n))
    np.testing.assert_array_equal(of["positive clustered"], [eps] * (n - 1) + [1])
    np.testing.assert_allclose(of["graded"], np.geomspace(1e-12, 1e12, n))
    np.testing.assert_array_equal(of["rank deficient"] == 0, [True] * 3 + [False] * 3)
    np.testing.assert_array_equal(of["exact pair"] == 5 / 6, [False] * 4 + [True] * 2)
    np.testing.assert_array_equal(of["exact triple"] == 4 / 6, [False] * 3 + [True] * 3)
    assert of["tie at the cut"][n // 2] == of["tie at the cut"][n // 2 - 1]
    for name, values in of.items():
        for end, number in (("overflow", precision.max), ("underflow", precision.smallest_normal)):
            if name.endswith(end):
                assert 0.1 < np.max(abs(values)) / float(number) ** 0.5 < 10, name


def test_exact_ties_are_exact():
    for spectrum in SPECTRA:
        if spectrum.name in ("exact pair", "exact triple", "tie at the cut"):
            a = spectrum.matrix(5)
            np.testing.assert_array_equal(a, np.diag(np.diag(a)))
            np.testing.assert_array_equal(np.sort(np.diag(a)), spectrum.eigenvalues(5))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_signed_spectra_have_a_negative_eigenvalue_and_others_have_none(n):
    for spectrum in SPECTRA:
        positive = not spectrum.name.startswith("LAPACK") or spectrum.name.endswith(("zero", "identity"))
        if positive or "random" not in spectrum.name:
            for seed in range(4):
                assert spectrum.is_semidefinite(n, seed=seed) == positive, spectrum


def test_gap_sweep_spans_the_gaps():
    for gap in (0.1, 1e-9, 0.0):
        values = gap_spectrum(gap).eigenvalues(6)
        np.testing.assert_allclose(values[-1] - values[-2], gap, atol=1e-16)
        assert values[-2] - values[-3] >= 0.3 - 1e-15


def test_banded_is_banded_and_has_the_spectrum():
    values = np.linspace(-1, 2, 9)
    for dtype in ("float64", "complex128"):
        a = banded(values, dtype, np.random.default_rng(0))
        assert np.count_nonzero(np.triu(a, 4)) == 0
        assert np.count_nonzero(np.triu(a, 3)) > 0
        np.testing.assert_allclose(np.linalg.eigvalsh(a), values, atol=1e-14)


def test_the_subspace_gradient_is_right_at_a_small_gap_to_the_rest():
    narrow = Spectrum("narrow", lambda n, *_: np.r_[np.linspace(0, 0.5, n - 2), 0.52, 1.0])
    a, loss = narrow.matrix(5), ClusterLoss(clusters=((3, 4),))
    expected = cluster_gradient(a, loss)
    # More digits than double precision has: the iteration takes place in a wider one.
    error = np.linalg.norm(subspace_gradient(a, loss) - expected)
    assert error < 1e-15 * np.linalg.norm(expected)


def test_the_cluster_gradient_has_digits_to_spare_for_tiny_gaps():
    gap, loss = 2.0**-50, ClusterLoss(clusters=((1,),))
    weight = loss.weight(0, 2, "float64")
    expected = np.diag([1.0, -1.0]) * (weight[0, 0] - weight[1, 1]) / (4 * gap)
    found = cluster_gradient(np.array([[1.0, gap], [gap, 1.0]]), loss)
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-15 * abs(expected[0, 0]))


def test_the_cluster_gradient_takes_as_many_digits_as_are_asked_for():
    a, loss = gap_spectrum(1e-14).matrix(4), ClusterLoss(clusters=((3,),))
    rough, fine = (cluster_gradient(a, loss, digits=digits) for digits in (20, 80))
    np.testing.assert_allclose(cluster_gradient(a, loss), fine, rtol=1e-15)
    assert np.linalg.norm(rough - fine) > 1e-10 * np.linalg.norm(fine)


def test_random_matrices_are_what_they_say():
    for dtype in ("float32", "complex64"):
        q = random_unitary(5, dtype, np.random.default_rng(0))
        np.testing.assert_allclose(q.conj().T @ q, np.eye(5), atol=1e-14)
        h = random_hermitian(5, dtype, np.random.default_rng(0))
        assert h.dtype == dtype
        np.testing.assert_array_equal(h, h.conj().T)


@pytest.mark.parametrize("missing", ["hypothesis", "mpmath"])
def test_a_missing_requirement_is_one_clear_sentence(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import specgrad.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"specgrad.testing needs hypothesis and mpmath, and {missing} is missing" in last
    assert "pip install" in last


def test_the_library_itself_needs_neither():
    code = "import sys; sys.modules['hypothesis'] = sys.modules['mpmath'] = None; import specgrad"
    subprocess.run([sys.executable, "-c", code], check=True)
