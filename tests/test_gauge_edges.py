"""Where a gauge begins to count: tolerances and widths to the last bit, ranks at the end of the spectrum."""

import numpy as np
import pytest

from specgrad import GaugeError, GaugeWarning, RaiseGauge, eigh, sqrtm, vjp
from specgrad.objections import cuts_a_tie
from specgrad.testing import random_hermitian


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


def splitting(backend, a, weight):
    """The pullback of ``S = V sqrt(l)`` with the cotangents of ``tr(W S S^H)``, and those of ``S`` in it."""
    (values, vectors), pullback = vjp(eigh, backend.array(a))
    values, vectors = backend.numpy(values), backend.numpy(vectors)
    root = vectors * values**0.5
    g_root = 2 * weight @ root
    g_values = np.sum((g_root.conj() * vectors).real, axis=0) / (2 * values**0.5)
    return pullback, (backend.array(g_values), backend.array(g_root * values**0.5)), g_root


def test_copies_of_an_eigenvalue_that_are_weighed_differently_are_seen(backend, double):
    # The loss is tr(W A), and its gradient W; half of it is in neither cotangent.
    weight = random_hermitian(3, double, np.random.default_rng(2))
    pullback, cotangents, _ = splitting(backend, np.diag([2.0, 2.0, 1.0]).astype(double), weight)
    with pytest.warns(GaugeWarning, match="weighs its copies differently"):
        (gradient,) = pullback(cotangents)
    assert np.max(np.abs(backend.numpy(gradient) - weight)) > 0.1
    for alone in ((cotangents[0], None), (None, cotangents[1])):
        pullback(alone)
    apart, cotangents, _ = splitting(backend, np.diag([2.0, 2 + 1e-9, 1.0]).astype(double), weight)
    np.testing.assert_allclose(backend.numpy(apart(cotangents)[0]), weight, atol=1e-5)


def test_a_matrix_function_times_constant_eigenvectors_splits_as_well(backend, double):
    weight, a = random_hermitian(3, double, np.random.default_rng(0)), np.diag([2.0, 2.0, 1.0]).astype(double)
    _, _, g_root = splitting(backend, a, weight)
    constant = np.linalg.eigh(a)[1]
    _, pullback = vjp(sqrtm, backend.array(a))
    (gradient,) = pullback(backend.array(g_root @ constant.conj().T))
    np.testing.assert_allclose(backend.numpy(gradient), weight, atol=1e-14)


def weighed(backend, values, weights, looked_at, gauge=RaiseGauge()):
    """Pulls back unequal weights of eigenvalues, and cotangents of some of the eigenvectors."""
    g_vectors = np.diag([1.0 if k in looked_at else 0.0 for k in range(3)])
    _, pullback = vjp(eigh, backend.array(np.diag(values)), gauge=gauge)
    pullback((backend.array(np.array(weights)), backend.array(g_vectors)))


def test_unequal_weights_that_matter_are_seen(backend):
    with pytest.raises(GaugeError, match="weighs its copies differently"):
        weighed(backend, (1.0, 1.0, 3.0), (0.0, 1.0, 0.0), looked_at=(0, 1))
    with pytest.raises(GaugeError, match="weighs its copies differently"):
        weighed(backend, (1.0, 1 + 1e-12, 3.0), (0.0, 1.0, np.inf), looked_at=(0, 1))
    with pytest.raises(
        GaugeError, match=r"within 2e-12 of the largest; .*\) at"
    ):  # as the default rule leaves out
        weighed(backend, (1.0, 1 + 1e-10, 100.0), (0.0, 1.0, 0.0), looked_at=(0, 1))


@pytest.mark.parametrize(
    ("values", "weights", "looked_at"),
    [
        ((1.0, 1.0, 3.0), (0.0, 1.0, 0.0), (1, 2)),  # of a copy that is not looked at
        ((1.0, 1.0, 3.0), (1.0, 1.0 + 1e-5, 0.0), (0, 1)),  # as rounding may
        ((0.0, 1e-16, 3.0), (0.0, 1.0, 0.0), (0, 1)),  # of zeros
        ((0.0, 1e-15, 3.0), (0.0, 1.0, 0.0), (0, 1)),  # of zeros to the rounding of three eigenvalues
        ((1.0, 1.0, 3.0), (0.0, 0.0, 0.0), (0, 1)),  # all of them 0
        ((-2.0, 1.0, 2.0), (0.0, 1.0, 2.0), (0, 2)),  # of opposite sign
    ],
)
def test_other_unequal_weights_pass(backend, values, weights, looked_at):
    weighed(backend, values, weights, looked_at)


def test_a_tolerance_allows_unequal_weights(backend):
    weighed(backend, (1.0, 1.0, 3.0), (0.5, 1.0, 0.0), looked_at=(0, 1), gauge=RaiseGauge(0.6))


def test_weights_differ_by_default_beyond_the_fourth_root_of_eps(backend, real):
    unit = float(np.finfo(real).eps) ** 0.25
    _, pullback = vjp(eigh, backend.array(np.eye(2, dtype=real)), gauge=RaiseGauge())
    vectors = backend.array(np.eye(2, dtype=real))
    pullback((backend.array(np.array([1 - 0.9 * unit, 1.0], dtype=real)), vectors))
    with pytest.raises(GaugeError, match="weighs its copies differently"):
        pullback((backend.array(np.array([1 - 1.1 * unit, 1.0], dtype=real)), vectors))


def test_weights_are_large_or_small_beside_those_of_their_own_matrix(backend):
    _, pullback = vjp(eigh, backend.array(np.stack([np.diag([1.0, 1.0, 3.0])] * 2)), gauge=RaiseGauge())
    weights = np.array([[0.0, 1.0, 0.0], [1e9, 1e9, 1e9]])
    with pytest.raises(GaugeError, match=r"batch index \(0,\)"):
        pullback((backend.array(weights), backend.array(np.stack([np.eye(3)] * 2))))


def test_an_infinite_entry_hides_no_other(backend):
    cotangent = [[np.inf, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    with pytest.raises(GaugeError, match="relative size"):
        pulled(backend, np.diag([1.0, 2.0, 2.0]), cotangent, RaiseGauge())


def test_the_size_is_that_beside_the_cotangent(backend):
    cotangent = np.zeros((4, 4))
    cotangent[0, 1] = 8.0
    with pytest.raises(GaugeError, match=r"relative size 2.5e-01 .* largest entry is 8.0e"):
        pulled(backend, np.eye(4), cotangent, RaiseGauge())
