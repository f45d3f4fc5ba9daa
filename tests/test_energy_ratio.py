"""The truncation by a share of the energy: conventions, rounding, range."""

import numpy as np
import pytest

from specgrad import EigenvalueFloor, EnergyRatio, RayleighMismatch, eigh

ALGORITHM_1 = EnergyRatio(1 - 1e-4, include_crossing=False) & EigenvalueFloor(1e-4) & RayleighMismatch(0.1)


def rank(backend, values, truncation):
    result = eigh(backend.array(np.diag(np.array(values, dtype=float))), truncation=truncation)
    return int(result.rank)


def test_energy_ratio_conventions(backend):
    values = [6.0, 3.0, 1.0]
    for ratio, inclusive, literal in (
        (0.5, 1, 1),
        (0.6, 1, 1),
        (0.61, 2, 1),
        (0.89, 2, 1),
        (0.95, 3, 2),
        (1.0, 3, 3),
    ):
        assert rank(backend, values, EnergyRatio(ratio)) == inclusive, ratio
        assert rank(backend, values, EnergyRatio(ratio, include_crossing=False)) == literal, ratio


def test_a_ratio_that_is_reached_up_to_rounding_is_reached(backend):
    for scale in (1.0, 0.1, 0.3, 7.0):
        values = scale * np.array([6.0, 3.0, 1.0])
        assert [rank(backend, values, EnergyRatio(ratio)) for ratio in (0.6, 0.9)] == [1, 2]


def test_energy_counts_magnitudes(backend):
    assert rank(backend, [5.0, -4.0, 1.0], EnergyRatio(0.89)) == 2


def test_literal_algorithm_1_never_keeps_the_last(backend):
    for n in (2, 5, 9):
        assert rank(backend, np.ones(n), ALGORITHM_1) == n - 1
    inclusive = EnergyRatio(1 - 1e-4) & EigenvalueFloor(1e-4) & RayleighMismatch(0.1)
    assert rank(backend, np.ones(5), inclusive) == 5


@pytest.mark.parametrize("size", [256, 2048])
def test_an_energy_ratio_close_to_one_is_kept_in_single_precision(backend, size):
    values = np.ones(size, dtype="float32")
    values[-10:] = 2e-5 * size
    marks = EnergyRatio(1 - 1e-4).keep(None, backend.array(values), None)
    kept = values[backend.numpy(marks)].astype("float64")
    dropped = 1 - kept.sum() / values.sum(dtype="float64")
    assert 1e-4 - 2.1e-5 < dropped <= 1e-4


def test_an_energy_ratio_does_not_leave_the_range(backend):
    for scale in (1e-30, 1e38, 3e38):
        values = backend.array(np.full(4, scale, dtype="float32"))
        assert np.all(backend.numpy(EnergyRatio(0.95).keep(None, values, None)))


def test_an_energy_ratio_close_to_one_keeps_what_it_needs_of_two(backend):
    for ratio, rest in ((1 - 1e-6, 1.5e-6), (1 - 1e-4, 1.005e-4)):
        values = backend.array(np.array([1.0, rest], dtype="float32"))
        assert np.all(backend.numpy(EnergyRatio(ratio).keep(None, values, None)))


@pytest.mark.parametrize("kept", [5, 9, 13])
def test_a_long_sum_reaches_its_ratio_up_to_its_own_rounding(backend, kept):
    values = backend.array(np.full(100, 0.3, dtype=np.float32))
    assert backend.numpy(EnergyRatio(kept / 100).keep(None, values, None)).sum() == kept


@pytest.mark.parametrize("truncation", [EigenvalueFloor(), EnergyRatio(0.9)], ids=repr)
def test_of_a_matrix_without_energy_one_is_kept(backend, truncation):
    assert rank(backend, [0.0, 0.0, 0.0], truncation) == 1


def test_energy_below_the_rounding_of_the_sum_is_none(backend):
    eps = float(np.finfo(np.float32).eps)
    for small, zeros, kept in ((0.4, 0, 2), (7.0, 29, 2), (12.0, 29, 3)):
        values = np.array([1.0, 1.0, small * eps] + [0.0] * zeros, dtype="float32")
        marks = EnergyRatio(1 - 1e-9).keep(None, backend.array(values), None)
        assert backend.numpy(marks).sum() == kept
