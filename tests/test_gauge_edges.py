"""Where a gauge begins to count: tolerances and widths to the last bit, ranks at the end of the spectrum."""

import numpy as np
import pytest

from specgrad import GaugeError, RaiseGauge, eigh, vjp
from specgrad.gauge import cuts_a_tie


def pulled(backend, a, cotangent, gauge):
    _, pullback = vjp(eigh, backend.array(a), gauge=gauge)
    return pullback((None, backend.array(np.array(cotangent))))


def test_a_tolerance_of_zero_allows_nothing(backend):
    cotangent = [[1.0, 1e-12], [0.0, 1.0]]
    pulled(backend, np.eye(2), cotangent, RaiseGauge(1e-9))
    with pytest.raises(GaugeError):
        pulled(backend, np.eye(2), cotangent, RaiseGauge(0.0))


def test_eigenvalues_at_the_width_are_tied(backend):
    cotangent = [[0.0, 0.0], [1.0, 0.0]]
    with pytest.raises(GaugeError):
        pulled(backend, np.diag([1 - 2.0**-39, 1.0]), cotangent, RaiseGauge())
    pulled(backend, np.diag([1 - 2.0**-38, 1.0]), cotangent, RaiseGauge())


def test_a_whole_spectrum_is_cut_nowhere_whatever_its_last_value(backend):
    values = backend.array(np.array([[3.0, 2.0, 1.0], [2.0, 1.0, 0.0]]))
    assert not cuts_a_tie(values, backend.array(np.array([1, 3])), but_at_zero=False)
