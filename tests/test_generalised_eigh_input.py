"""The generalised eigenproblem: metrics that are none, bad input, and losses without a gradient."""

import numpy as np
import pytest
from pencils import APART, TIED, SquaredEigenvalues, gradients, largest, pencil

from specgrad import GaugeError, GaugeWarning, PowerIteration, RaiseGauge, generalised_eigh, jvp, vjp
from specgrad.testing import ClusterLoss


def test_a_loss_that_depends_on_the_basis_of_a_tie_is_seen_whatever_the_units(backend, double):
    a, b, _ = pencil(TIED, 10.0, double)
    for unit in (1.0, 1e12, 1e-12):
        arrays = (
            backend.array(np.stack([np.eye(6), unit * a])),
            backend.array(np.stack([np.eye(6), unit * b])),
        )
        output, pullback = vjp(generalised_eigh, *arrays, gauge=RaiseGauge())
        g_vectors = np.zeros_like(backend.numpy(output.eigenvectors))
        g_vectors[1, 0, 0] = 1.0
        with pytest.raises(GaugeError, match=r"batch index \(1,\)"):
            pullback((None, backend.array(g_vectors)))


@pytest.mark.parametrize(
    "metric", [np.diag([1.0, 0.0]), np.diag([1.0, -2.0]), np.ones((2, 2)), np.zeros((2, 2))]
)
def test_a_metric_that_is_not_definite_is_named(backend, dtype, metric):
    b = np.stack([np.eye(2), metric]).astype(dtype)
    with pytest.raises(
        ValueError, match=r"b is not positive definite to rounding: .* batch index \(1,\).*exchange"
    ):
        generalised_eigh(backend.array(np.eye(2, dtype=dtype)), backend.array(b))


def test_a_metric_that_is_definite_by_rounding_alone_is_not(backend, real):
    almost = 1.0 - np.finfo(real).epsneg
    b = backend.array(np.array([[1.0, almost], [almost, 1.0]], dtype=real))
    assert np.isnan(backend.numpy(generalised_eigh(b, b, check_finite=False).eigenvalues)).all()
    with pytest.raises(ValueError, match="b is not positive definite"):
        generalised_eigh(b, b)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_eigenvalues_beyond_the_range_of_the_dtype_are_named(backend, real):
    large = np.finfo(real).max / 4
    a = np.stack([np.eye(2), np.diag([1.0, large])]).astype(real)
    with pytest.raises(ValueError, match=r"leave the range of .* at batch index \(1,\)"):
        generalised_eigh(backend.array(a), backend.array(np.eye(2, dtype=real) / 64))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0])
def test_a_bad_matrix_spoils_no_other_of_its_batch(backend, double, bad, which):
    a, b, _ = pencil(APART, 10.0, double)
    loss, batches = SquaredEigenvalues(), (np.stack([a, a]), np.stack([b, b]))
    batches[which][0, 0, 0] = bad if which else np.nan
    found = gradients(backend, loss, *batches, check_finite=False)
    for measured, expected in zip(found, gradients(backend, loss, a, b), strict=True):
        assert not np.isfinite(measured[0]).any()
        np.testing.assert_allclose(measured[1], expected, rtol=1e-12, atol=1e-12 * largest(expected))


def test_pairs_that_do_not_go_together_are_named(backend):
    matrices = [backend.array(np.stack([np.eye(n)] * k)) for n, k in ((2, 1), (3, 1), (2, 2), (2, 3))]
    for first, second in ((0, 1), (2, 3)):
        with pytest.raises(ValueError, match=r"a has shape .* and b .*, and matrices of one size are needed"):
            generalised_eigh(matrices[first], matrices[second])
    with pytest.raises(ValueError, match=r"b has shape .* square"):
        generalised_eigh(matrices[0], backend.array(np.zeros((2, 3))))


def test_what_is_not_hermitian_or_finite_is_named(backend):
    good, skew, broken = np.eye(2), np.array([[1.0, 0.5], [0.0, 1.0]]), np.diag([1.0, np.nan])
    for wrong, message in ((skew, "is not Hermitian"), (broken, "has NaN or infinite entries")):
        with pytest.raises(ValueError, match=f"b {message}"):
            generalised_eigh(backend.array(good), backend.array(wrong))
        with pytest.raises(ValueError, match=f"a {message}"):
            generalised_eigh(backend.array(wrong), backend.array(good))


def test_arrays_of_two_libraries_are_named(backend):
    ours = np.eye(2)
    theirs = backend.array(ours)
    if isinstance(theirs, np.ndarray):
        pytest.skip("they are of one library")
    with pytest.raises(TypeError, match="arrays of one library are needed"):
        generalised_eigh(theirs, ours)


@pytest.mark.parametrize("tie", [0.0, 1.0])
@pytest.mark.parametrize("condition", [1e8, 1e11])
def test_a_loss_of_the_basis_of_a_tie_is_seen_where_the_metric_splits_it(backend, double, condition, tie):
    for seed in range(10):
        a, b, _ = pencil((tie, tie, 2.0, 3.0, 4.0, 5.0), condition, double, seed)
        output, pullback = vjp(generalised_eigh, backend.array(a), backend.array(b), gauge=RaiseGauge())
        cotangents = ClusterLoss(((0,),), seed).cotangents(output)
        with pytest.raises(GaugeError, match="depends on the phase"):
            pullback(cotangents)


def test_by_default_a_loss_without_a_gradient_warns_in_a_metric(backend):
    a, b, _ = pencil(TIED, 10.0, "float64")
    output, pullback = vjp(generalised_eigh, backend.array(a), backend.array(b))
    with pytest.warns(GaugeWarning, match="depends on the phase"):
        pullback(ClusterLoss(((0,),)).cotangents(output))


def test_copies_of_an_eigenvalue_that_are_weighed_differently_are_seen_in_a_metric(backend):
    a, b, _ = pencil(TIED, 10.0, "float64")
    output, pullback = vjp(generalised_eigh, backend.array(a), backend.array(b), gauge=RaiseGauge())
    cotangents = ClusterLoss(((0, 1),)).cotangents(output).eigenvectors
    with pytest.raises(GaugeError, match="weighs its copies differently"):
        pullback((backend.array(np.arange(6.0)), cotangents))


def test_a_solver_with_a_derivative_of_its_own_is_refused(backend):
    identity = backend.array(np.eye(2))
    with pytest.raises(TypeError, match="know no metric: use solver=DenseEigh"):
        generalised_eigh(identity, identity, solver=PowerIteration(3))


@pytest.mark.parametrize("shape", [(0, 0), (3, 0, 0), (0, 2, 2)])
def test_empty_input_has_empty_output_and_gradient(backend, dtype, shape):
    a = backend.array(np.zeros(shape, dtype=dtype))
    output, pullback = vjp(generalised_eigh, a, a)
    assert tuple(output.eigenvectors.shape) == shape
    assert [tuple(g.shape) for g in pullback(output)] == [shape, shape]
    assert tuple(jvp(generalised_eigh, (a, a), (a, a))[1].eigenvalues.shape) == shape[:-1]
    one = backend.array(np.eye(shape[-1], dtype=dtype))
    _, pullback = vjp(generalised_eigh, a, one)
    assert [tuple(g.shape) for g in pullback(output)] == [shape, shape[-2:]]
