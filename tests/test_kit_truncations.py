"""`check_truncation` passes what keeps its contract, and finds what does not."""

from dataclasses import dataclass

import numpy as np
import pytest

from specgrad import EigenvalueFloor, EnergyRatio, MaxRank, RayleighMismatch
from specgrad.testing import GAP_SWEEP, SPECTRA, check_truncation

OWN = (
    MaxRank(2),
    EigenvalueFloor(),
    EigenvalueFloor(absolute=0.1, relative=1e-3),
    EnergyRatio(0.9),
    EnergyRatio(0.9, include_crossing=False),
    EnergyRatio(1 - 1e-4) & EigenvalueFloor(),
    MaxRank(1) | EnergyRatio(0.5),
)


@pytest.mark.parametrize("truncation", OWN, ids=repr)
def test_truncations_of_this_library_pass(backend, truncation):
    check_truncation(truncation, backend.xp, sizes=(3,), device=backend.device)


def test_a_truncation_that_weighs_rounding_passes_on_what_is_none(backend):
    check_truncation(RayleighMismatch(), backend.xp, spectra=GAP_SWEEP, sizes=(3,), device=backend.device)


@dataclass(frozen=True)
class Faulty:
    """Keeps the positive, with one of several faults."""

    fault: str

    def keep(self, a, values, vectors):
        marks = values > 0
        match self.fault:
            case "numbers":
                return 1.0 * marks
            case "one":
                return marks[..., :1]
            case "empty" if 0 in values.shape:
                raise ValueError("nothing to keep")
            case "batch":
                return values > np.mean(values)
            case "one axis" if values.ndim == 2:
                return marks[:1] | ~marks
            case "two axes":
                return marks if values.ndim < 3 else marks[:1] | ~marks
            case "phase":
                return marks & (np.real(vectors[..., 0, :]) > 0)
            case "writes":
                values[...] = 0.0
            case "raises" if values.ndim > 1:
                raise RuntimeError("one at a time, please")
        return marks


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("numbers", "on '.*', n = 1, float32: it gives a ndarray of dtype float64 .* booleans of shape"),
        ("one", r"n = 2, float32: .* shape \(1,\), and booleans of shape \(2,\)"),
        ("batch", "in a batch in another way than the same alone"),
        ("one axis", "in a batch in another way than the same alone"),
        ("two axes", "in a batch in another way than the same alone"),
        ("empty", "on a batch, n = 1, float32: it raises ValueError: nothing to keep"),
        ("phase", "change with the signs or phases"),
        ("writes", "writes into its arguments"),
        ("raises", "on a batch, n = 1, float32: it raises RuntimeError: one at a time, please"),
    ],
)
def test_faults_are_found_and_said(fault, message):
    with pytest.raises(AssertionError, match=rf"Faulty\(fault='{fault}'\) ?.*{message}"):
        check_truncation(Faulty(fault), np)


def test_signs_are_tried_on_real_vectors_too():
    with pytest.raises(AssertionError, match="change with the signs or phases"):
        check_truncation(Faulty("phase"), np, dtypes=("float64",))


def test_a_truncation_that_is_fine_passes():
    check_truncation(Faulty("none"), np, spectra=SPECTRA[:4])


@dataclass(frozen=True)
class LargestMagnitudeFirst(Faulty):
    """Refuses another order."""

    fault: str = "none"

    def keep(self, a, values, vectors):
        assert np.all(np.diff(abs(values)) <= 0)
        return super().keep(a, values, vectors)


def test_the_largest_magnitude_comes_first():
    check_truncation(LargestMagnitudeFirst(), np)
