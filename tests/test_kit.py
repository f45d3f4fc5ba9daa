"""The material of the conformance kit, and what it needs."""

import subprocess
import sys

import numpy as np
import pytest

from specgrad.testing import (
    LAPACK_SPECTRA,
    SPECTRA,
    banded,
    gap_spectrum,
    random_hermitian,
    random_unitary,
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
