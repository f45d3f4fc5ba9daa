"""Losses that depend on the gauge: warned of once per place, raised, or projected."""

import itertools
import warnings
from functools import partial

import numpy as np
import pytest

from specgrad import (
    EigenvalueFloor,
    GaugeError,
    GaugeWarning,
    MaxRank,
    ProjectGauge,
    RaiseGauge,
    WarnGauge,
    covariance_pool,
    denoising_matrix,
    eigh,
    expm,
    pca_denoise,
    powm,
    spectral_projector,
    vjp,
    whitening_matrix,
    zca_whiten,
)
from specgrad.objections import cuts_a_tie
from specgrad.testing import ClusterLoss, gap_spectrum

_PLACES = itertools.count()


def at_a_new_place():
    """A function that calls its first argument from a line of code that nothing has run before."""
    call = compile("lambda function, *args: function(*args)", f"place {next(_PLACES)}", "eval")
    return eval(call, {"__name__": "a user's module"})


def tied(backend, double):
    return backend.array(np.diag([1.0, 2.0, 2.0]).astype(double))


def dependent(backend, double):
    """A cotangent that turns the basis inside the tie."""
    g = np.zeros((3, 3), dtype=double)
    g[1, 2] = 1.0
    return backend.array(g)


def test_warning_says_how_large_and_what_to_do(backend, double):
    _, pullback = vjp(eigh, tied(backend, double))
    with pytest.warns(
        GaugeWarning,
        match=r"relative size [0-9.e+-]+ of the cotangent.* batch index \(\).*RaiseGauge.*ProjectGauge",
    ):
        at_a_new_place()(pullback, (None, dependent(backend, double)))


def test_the_matrix_is_named(backend):
    a = backend.array(np.stack([np.diag([1.0, 2.0]), np.diag([3.0, 3.0])])[:, None])
    (_, vectors), pullback = vjp(eigh, a, gauge=RaiseGauge())
    turned, weighed = np.zeros((2, 1, 2, 2)), np.zeros((2, 1, 2))
    turned[..., 1, 0], weighed[..., 0] = 1.0, 1.0
    with pytest.raises(GaugeError, match=r"at batch index \(1, 0\), whose largest entry is 1.0e\+00,"):
        pullback((None, backend.array(turned)))
    with pytest.raises(GaugeError, match=r"repeated eigenvalue .* at batch index \(1, 0\), and weighs"):
        pullback((backend.array(weighed), vectors))


def test_warning_comes_once_per_place(backend, double):
    _, pullback = vjp(eigh, tied(backend, double))
    g = dependent(backend, double)
    first, second = at_a_new_place(), at_a_new_place()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            first(pullback, (None, g))
        second(pullback, (None, g))
    assert [each.filename for each in caught] == [x.__code__.co_filename for x in (first, second)]


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (spectral_projector, (1.0, 2.0, 2.0, 3.0)),
        (spectral_projector, (0.0, 0.0, 0.0, 3.0)),
        (spectral_projector, (-2.0, 1.0, 2.0, 3.0)),
        (expm, (2.0,) * 4),
        (expm, (0.0, 0.0, 0.0, 3.0)),
        (denoising_matrix, (2.0,) * 4),
        (partial(whitening_matrix, eps=1e-4), (0.0, 0.0, 0.0, 3.0)),
    ],
)
def test_a_truncation_that_keeps_a_repeated_eigenvalue_in_part_says_so(backend, double, function, values):
    a = np.stack([np.diag((1.0, 2.0, 3.0, 4.0)), np.diag(values)]).astype(double)
    with pytest.warns(GaugeWarning, match=r"MaxRank\(rank=2\) keeps some of several eigenvalues"):
        at_a_new_place()(partial(function, truncation=MaxRank(2)), backend.array(a))


@pytest.mark.parametrize("function", [pca_denoise, zca_whiten, partial(covariance_pool, correction=1)])
def test_a_truncation_that_keeps_a_repeated_variance_in_part_says_so(backend, double, function):
    x = np.array([[1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]).astype(double)
    with pytest.warns(GaugeWarning, match=r"MaxRank\(rank=2\) keeps some of several eigenvalues"):
        at_a_new_place()(partial(function, truncation=MaxRank(2)), backend.array(x))


@pytest.mark.parametrize(
    ("values", "rank", "cuts"),
    [
        ([[3.0, 2.0, 1.0], [3.0, 2.0, 2.0]], [3, 2], True),  # in one matrix of a batch, the other being whole
        ([-3.0, -2.0, -2.0], 2, True),
        ([1.0, 1e-10, 1e-10 - 3e-16], 2, True),  # equal to rounding of the largest
        ([1.0] + [4e-16] * 31, 5, False),  # 0 to rounding of so many
        ([3.0, 2.0, 1.0], 2, False),
    ],
)
def test_a_cut_among_equal_eigenvalues_is_seen(backend, values, rank, cuts):
    given = backend.array(np.array(values)), backend.array(np.array(rank))
    assert cuts_a_tie(*given, but_at_zero=True) == cuts


def test_a_cut_among_zeros_says_so_where_the_function_has_a_slope(backend):
    a = backend.array(np.diag([2.0, 0.0, 0.0]))
    for exponent in (0.5, 1.0):
        with pytest.warns(GaugeWarning, match="keeps some of several"):
            at_a_new_place()(partial(powm, exponent=exponent, truncation=MaxRank(2)), a)
    x = backend.array(np.diag([2.0, 0.0, 0.0, 0.0])[:, [0, 1]] - 1.0 * np.eye(4)[:, :1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        at_a_new_place()(partial(pca_denoise, truncation=MaxRank(2), scaling=None), x)


def test_without_the_check_nobody_looks_at_the_cut(backend):
    a = backend.array(np.eye(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        at_a_new_place()(partial(powm, exponent=0.5, truncation=MaxRank(1), check_finite=False), a)


def test_small_eigenvalues_are_no_ties_for_being_small(backend):
    a = backend.array(np.diag([1.0, 1e-12, 1e-14, 0.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for truncation in (MaxRank(2), EigenvalueFloor(), EigenvalueFloor(absolute=1e-13)):
            at_a_new_place()(spectral_projector, a, truncation)


def test_eigenvalues_that_decay_in_single_precision_are_no_ties(backend):
    n, draw = 64, np.random.default_rng(0)
    basis = np.linalg.qr(draw.standard_normal((n, n)))[0]
    x = (basis * np.arange(1, n + 1.0) ** -1.5) @ draw.standard_normal((n, 4 * n))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        at_a_new_place()(zca_whiten, backend.array(x.astype("float32")))


def test_a_truncation_at_a_gap_or_among_zeros_that_change_nothing_is_silent(backend, double):
    for function, values in (
        (spectral_projector, (1.0, 1.0, 2.0, 2.0)),
        (partial(powm, exponent=2), (0, 0, 0, 3.0)),
    ):
        for rank in (2, 4):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                at_a_new_place()(
                    partial(function, truncation=MaxRank(rank)), backend.array(np.diag(values).astype(double))
                )


def test_a_phase_dependent_loss_is_seen_without_ties(backend):
    _, pullback = vjp(eigh, backend.array(gap_spectrum(0.1).matrix(4, "complex128")), gauge=RaiseGauge())
    with pytest.raises(GaugeError, match="phase of an eigenvector"):
        pullback((None, backend.array(np.ones((4, 4)) * (1 + 2j))))


def test_raising_says_what_a_warning_would(backend, double):
    _, pullback = vjp(eigh, tied(backend, double), gauge=RaiseGauge())
    with pytest.raises(GaugeError, match="relative size"):
        pullback((None, dependent(backend, double)))


def test_a_loss_of_eigenvalues_beside_eigenvectors_hides_nothing(backend, double):
    (values, _), pullback = vjp(eigh, tied(backend, double), gauge=RaiseGauge())
    with pytest.raises(GaugeError, match="relative size"):
        pullback((values, dependent(backend, double)))


@pytest.mark.parametrize(
    ("values", "pair"),
    [
        # By magnitude an opposite eigenvalue comes between two that agree.
        ((2.000000000000002, -2.000000000000001, 2.0), (0, 2)),
        # The width of a tie is that of the largest eigenvalue, not of a small one beside it.
        ((1.0 + 1e-13, 1.0, 1e-14), (0, 1)),
    ],
)
def test_a_tie_is_seen_wherever_it_stands(backend, values, pair):
    cotangent = np.zeros((3, 3))
    cotangent[pair] = 1.0
    a = backend.array(np.diag(values))
    output, pullback = vjp(eigh, a, truncation=MaxRank(3), gauge=RaiseGauge())
    np.testing.assert_array_equal(backend.numpy(output.eigenvalues), values)
    with pytest.raises(GaugeError, match="relative size"):
        pullback((None, backend.array(cotangent), None))


def test_the_least_part_that_counts_is_the_root_of_eps_times_that_of_n(backend, real):
    n, unit = 16, np.finfo(real).eps ** 0.5
    _, pullback = vjp(eigh, backend.array(np.eye(n, dtype=real)), gauge=RaiseGauge())
    cotangent = np.eye(n, dtype=real)
    cotangent[0, 1] = 0.9 * 2 * n**0.5 * unit  # half of it is anti-symmetric
    pullback((None, backend.array(cotangent)))
    cotangent[0, 1] = 1.1 * 2 * n**0.5 * unit
    with pytest.raises(GaugeError, match="relative size"):
        pullback((None, backend.array(cotangent)))


def test_a_matrix_of_nan_hides_no_other_of_its_batch(backend, double):
    a = np.stack([np.full((3, 3), np.nan), np.diag([1.0, 2.0, 2.0])]).astype(double)
    cotangent = np.zeros((2, 3, 3), dtype=double)
    cotangent[1, 1, 2] = 1.0
    _, pullback = vjp(eigh, backend.array(a), gauge=RaiseGauge(), check_finite=False)
    with pytest.raises(GaugeError, match="relative size"):
        pullback((None, backend.array(cotangent)))


def test_a_tolerance_allows(backend, double):
    for policy in (RaiseGauge(tolerance=10.0), WarnGauge(tolerance=10.0)):
        _, pullback = vjp(eigh, tied(backend, double), gauge=policy)
        pullback((None, dependent(backend, double)))


def test_projection_removes_the_offending_part_alone(backend, double):
    a = tied(backend, double)
    output, pullback = vjp(eigh, a, gauge=ProjectGauge())
    given = ClusterLoss(((0,), (1, 2))).cotangents(output).eigenvectors
    plain = backend.numpy(pullback((None, given))[0])
    disturbed = backend.numpy(pullback((None, given + dependent(backend, double)))[0])
    expected = backend.numpy(pullback((None, dependent(backend, double)))[0])
    np.testing.assert_allclose(disturbed - plain, expected, atol=64 * np.finfo(double).eps)
    assert np.max(np.abs(expected)) <= 64 * np.finfo(double).eps


@pytest.mark.parametrize("policy", [WarnGauge(), RaiseGauge(), ProjectGauge()], ids=repr)
def test_a_loss_without_gauge_passes_every_policy(backend, dtype, policy):
    for gap in (0.0, 0.1):
        a = gap_spectrum(gap).matrix(5, dtype)
        output, pullback = vjp(eigh, backend.array(a), gauge=policy)
        given = ClusterLoss(((3, 4), (0,))).cotangents(output)
        expected = vjp(eigh, backend.array(a), gauge=WarnGauge())[1](given)[0]
        np.testing.assert_allclose(
            backend.numpy(pullback(given)[0]), backend.numpy(expected), atol=1e3 * np.finfo(dtype).eps
        )
