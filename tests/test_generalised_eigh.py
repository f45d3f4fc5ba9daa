"""The generalised eigenproblem: its solutions, and gradients in both matrices."""

import numpy as np
import pytest
from pencils import APART, TIED, SquaredEigenvalues, gradients, largest, pencil

from specgrad import (
    BroadenedGap,
    DenseSVD,
    ExactGap,
    MaskedGap,
    PowerIterationGap,
    eigh,
    generalised_eigh,
    jvp,
    vjp,
)
from specgrad.testing import ClusterLoss, check_gradient, random_hermitian


@pytest.mark.parametrize("values", [TIED, (-2.0, 0.0, 3.0)], ids=str)
def test_solves_the_problem_with_eigenvectors_of_length_one_in_the_metric(backend, dtype, values):
    a, b, _ = pencil(values, 100.0, dtype)
    found, vectors = map(backend.numpy, generalised_eigh(backend.array(a), backend.array(b)))
    tolerance = 100.0 * 60 * len(values) * np.finfo(dtype).eps
    assert found.dtype == np.finfo(dtype).dtype
    assert vectors.dtype == dtype
    np.testing.assert_allclose(found, values, atol=tolerance)
    assert largest(vectors.conj().T @ b @ vectors - np.eye(len(values))) < tolerance
    assert largest(a @ vectors - b @ vectors * found) < tolerance


def test_finite_differences_of_eigenvectors(backend, dtype):
    a, b, _ = pencil(APART, 10.0, dtype)
    loss = ClusterLoss(tuple((k,) for k in range(6)))
    check_gradient(generalised_eigh, backend.array(a), backend.array(b), loss=loss, radius=0.02)


def test_finite_differences_of_a_subspace_at_a_tie(backend, double):
    a, b, _ = pencil(TIED, 10.0, double)
    loss = ClusterLoss(((0, 1), (3,)))
    check_gradient(generalised_eigh, backend.array(a), backend.array(b), loss=loss, radius=0.02)


def test_finite_differences_of_eigenvalues_at_a_tie(backend, dtype):
    a, b, _ = pencil(TIED, 10.0, dtype)
    arrays = backend.array(a), backend.array(b)
    check_gradient(generalised_eigh, *arrays, loss=SquaredEigenvalues(), radius=0.02)


def test_finite_differences_with_another_solver_and_rule(backend, double):
    a, b, _ = pencil(APART, 10.0, double)
    loss, options = ClusterLoss(((0,), (5,))), {"solver": DenseSVD(), "gap": ExactGap()}
    check_gradient(generalised_eigh, backend.array(a), backend.array(b), loss=loss, radius=0.02, **options)


def test_finite_differences_of_many_matrices_in_one_metric(backend, double):
    a = np.stack([pencil(APART, 10.0, double, seed)[0] for seed in range(2)])[:, None]
    b = np.stack([pencil(APART, 4.0, double, seed)[1] for seed in range(3)])
    check_gradient(
        generalised_eigh, backend.array(a), backend.array(b), loss=SquaredEigenvalues(), radius=0.02
    )
    values = generalised_eigh(backend.array(a), backend.array(b)).eigenvalues
    assert tuple(values.shape) == (2, 3, 6)
    exchanged = generalised_eigh(backend.array(b), backend.array(b[:1])).eigenvalues
    assert tuple(exchanged.shape) == (3, 6)
    alone = generalised_eigh(backend.array(a[1, 0]), backend.array(b[2])).eigenvalues
    np.testing.assert_allclose(backend.numpy(values)[1, 2], backend.numpy(alone), rtol=1e-12)


def test_finite_differences_of_a_real_matrix_and_a_complex_one(backend):
    real, imaginary = (pencil(APART, 10.0, dtype) for dtype in ("float64", "complex128"))
    for a, b in ((real[0], imaginary[1]), (imaginary[0], real[1])):
        arrays = backend.array(a), backend.array(b)
        check_gradient(generalised_eigh, *arrays, loss=ClusterLoss(((4, 5),)), radius=0.02)


def test_the_wider_precision_is_computed_in(backend):
    a, b, _ = pencil(APART, 10.0, "float32")
    for first, second in (("float32", "float64"), ("float64", "float32"), ("complex64", "float64")):
        arrays = backend.array(a.astype(first)), backend.array(b.astype(second))
        output, pullback = vjp(generalised_eigh, *arrays)
        assert backend.numpy(output.eigenvectors).dtype == np.result_type(first, second)
        found = pullback(SquaredEigenvalues().cotangents(output))
        assert [backend.numpy(g).dtype for g in found] == [first, second]


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8, 1e10])
@pytest.mark.parametrize("closing", [0.0, 1e-13, 1e-9, 1e-3])
def test_subspaces_of_closing_pairs_are_right_to_the_condition_of_the_metric(
    backend, double, condition, closing
):
    values = np.array([1.0, 1.0 + closing, 2.0, 3.0, 4.0, 5.0])
    a, b, frame = pencil(values, condition, double)
    weight = random_hermitian(6, double, np.random.default_rng(1))
    # tr(W P) of the pair's projector P; in the coordinates of the frame the metric is the identity.
    (_, vectors), pullback = vjp(generalised_eigh, backend.array(a), backend.array(b))
    in_pair = np.arange(6) < 2
    g_vectors = 2 * frame @ weight @ frame.conj().T @ backend.numpy(vectors) * in_pair
    found = (backend.numpy(g) for g in pullback((None, backend.array(g_vectors.astype(double)))))
    pairs = np.zeros((6, 6), dtype=double)
    pairs[:2, 2:] = weight[:2, 2:] / (values[:2, None] - values[2:])
    pairs = pairs + pairs.conj().T
    inner = 2 * weight * in_pair
    in_metric = -(values * pairs + values[:, None] * pairs) / 2 - (inner + inner.conj().T) / 4
    for measured, expected in zip(found, (pairs, in_metric), strict=True):
        error = frame.conj().T @ measured @ frame - expected
        assert largest(error) < 64 * np.finfo(double).eps * condition * largest(expected)


def test_close_eigenvalues_that_a_metric_tells_apart_keep_their_gradient(backend, double):
    values, condition = np.array([1.0, 1.0 + 1e-6, 2.0, 3.0, 4.0, 5.0]), 1e8
    a, b, frame = pencil(values, condition, double)
    weight, image = random_hermitian(6, double, np.random.default_rng(1)), np.exp(-values)
    # tr(W X exp(-L) X^H), of which the floor sees as little between the first two as of rounding.
    (found, vectors), pullback = vjp(generalised_eigh, backend.array(a), backend.array(b))
    found, vectors = backend.numpy(found), backend.numpy(vectors)
    product = frame @ weight @ frame.conj().T @ vectors
    cotangents = -np.exp(-found) * np.sum(vectors.conj() * product, axis=0).real, 2 * product * np.exp(-found)
    (measured, _) = pullback(tuple(map(backend.array, cotangents)))
    gaps = values - values[:, None] + np.eye(6)
    expected = weight * np.where(np.eye(6, dtype=bool), -image, (image - image[:, None]) / gaps)
    error = frame.conj().T @ backend.numpy(measured) @ frame - expected
    assert largest(error) < 1e-2 * largest(expected)  # 1e-6 is ten times what the metric can tell apart


@pytest.mark.parametrize("gap", [MaskedGap(), BroadenedGap(1e-2), PowerIterationGap(19)], ids=repr)
def test_in_the_metric_of_the_identity_it_is_the_ordinary_problem(backend, dtype, gap):
    a = pencil(TIED, 10.0, dtype)[0]
    loss = ClusterLoss(((0, 1), (2,), (3, 4)))
    output, pullback = vjp(eigh, backend.array(a), gap=gap)
    expected = backend.numpy(pullback(loss.cotangents(output))[0])
    measured, _ = gradients(backend, loss, a, np.eye(6, dtype=dtype), gap=gap)
    assert largest(measured - expected) < 1e4 * np.finfo(dtype).eps * largest(expected)


def test_units_do_not_matter(backend, dtype):
    a, b, _ = pencil(TIED, 10.0, dtype)
    loss, units = ClusterLoss(((0, 1), (5,))), 2.0 ** np.array([0, 20, -20, 7, -7, 1], dtype="float32")
    scale = units[:, None] * units
    values = generalised_eigh(backend.array(a), backend.array(b)).eigenvalues
    scaled = generalised_eigh(backend.array(a * scale), backend.array(b * scale)).eigenvalues
    np.testing.assert_array_equal(backend.numpy(values), backend.numpy(scaled))
    output, pullback = vjp(generalised_eigh, backend.array(a), backend.array(b))
    cotangents = loss.cotangents(output)
    expected = pullback(cotangents)
    _, pullback = vjp(generalised_eigh, backend.array(a * scale), backend.array(b * scale))
    in_units = backend.array(backend.numpy(cotangents.eigenvectors) * units[:, None])
    for first, second in zip(expected, pullback((None, in_units)), strict=True):
        np.testing.assert_allclose(backend.numpy(first), backend.numpy(second) * scale, rtol=1e-6)


@pytest.mark.parametrize("metric", [1e-60, 1e60])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_equivariant_under_scaling(backend, scale, metric):
    a, b, _ = pencil(APART, 10.0, "float64")
    first, second = (
        gradients(backend, SquaredEigenvalues(), *pair) for pair in ((a, b), (scale * a, metric * b))
    )
    ratio = scale / metric
    np.testing.assert_allclose(second[0], first[0] * (ratio / metric), rtol=1e-9)
    np.testing.assert_allclose(second[1], first[1] * (ratio * ratio / metric), rtol=1e-9)


def test_forward_mode_is_the_adjoint_at_ties_off_the_floor(backend, double):
    a, b, _ = pencil(TIED, 10.0, double)
    arrays, gap = (backend.array(a), backend.array(b)), MaskedGap(noise=None)
    generator = np.random.default_rng(3)
    tangents = tuple(backend.array(random_hermitian(6, double, generator)) for _ in arrays)
    output, pullback = vjp(generalised_eigh, *arrays, gap=gap)
    cotangents = ClusterLoss(((0, 1), (2, 3))).cotangents(output)
    _, moved = jvp(generalised_eigh, arrays, tangents, gap=gap)
    reverse = sum(
        np.vdot(backend.numpy(g), backend.numpy(t)).real
        for g, t in zip(pullback(cotangents), tangents, strict=True)
    )
    forward = np.vdot(backend.numpy(cotangents.eigenvectors), backend.numpy(moved.eigenvectors)).real
    assert abs(forward - reverse) < 1e-11 * abs(reverse)


def test_only_hermitian_tangents_count(backend, double):
    a, b, _ = pencil(APART, 10.0, double)
    arrays, move = (
        (backend.array(a), backend.array(b)),
        np.triu(random_hermitian(6, double, np.random.default_rng(5))),
    )
    _, full = jvp(generalised_eigh, arrays, (backend.array(move), backend.array(move)))
    half = backend.array((move + move.conj().T) / 2)
    _, expected = jvp(generalised_eigh, arrays, (half, half))
    for x, y in zip(full, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(x), backend.numpy(y), atol=1e-12)
