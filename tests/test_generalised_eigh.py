"""The generalised eigenproblem: its solutions, and gradients in both matrices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from specgrad import (
    BroadenedGap,
    DenseSVD,
    ExactGap,
    GaugeError,
    MaskedGap,
    PowerIteration,
    PowerIterationGap,
    RaiseGauge,
    eigh,
    generalised_eigh,
    jvp,
    vjp,
)
from specgrad._namespace import namespace
from specgrad.testing import ClusterLoss, check_gradient, random_hermitian, random_unitary

TIED = (1.0, 1.0, 2.0, 3.0, 4.0, 5.0)
APART = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)


def pencil(values, condition, dtype, seed=0):
    """``A = F diag(values) F^H``, ``B = F F^H`` of some condition number, and ``F`` before rounding."""
    generator, n = np.random.default_rng(seed), len(values)
    stretch = np.geomspace(1.0, condition**-0.5, n)
    frame = (random_unitary(n, dtype, generator) * stretch) @ random_unitary(n, dtype, generator)
    a, b = (frame * np.array(values)) @ frame.conj().T, frame @ frame.conj().T
    return *(((m + m.conj().T) / 2).astype(dtype) for m in (a, b)), frame


def gradients(backend, loss, a, b, **options):
    output, pullback = vjp(generalised_eigh, backend.array(a), backend.array(b), **options)
    return tuple(map(backend.numpy, pullback(loss.cotangents(output))))


def largest(x):
    return np.max(np.abs(x))


@dataclass(frozen=True)
class SquaredEigenvalues:
    """``sum l^2``, which has a gradient at ties."""

    def value(self, output: Any) -> Any:
        return namespace(output.eigenvalues).sum(output.eigenvalues**2)

    def cotangents(self, output: Any) -> Any:
        return type(output)(2.0 * output.eigenvalues, None)


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


@pytest.mark.parametrize("solver", [DenseSVD()], ids=repr)
def test_finite_differences_with_another_solver_and_rule(backend, double, solver):
    a, b, _ = pencil(APART, 10.0, double)
    loss, options = ClusterLoss(((0,), (5,))), {"solver": solver, "gap": ExactGap()}
    check_gradient(generalised_eigh, backend.array(a), backend.array(b), loss=loss, radius=0.02, **options)


def test_finite_differences_of_many_matrices_in_one_metric(backend, double):
    a = np.stack([pencil(APART, 10.0, double, seed)[0] for seed in range(2)])[:, None]
    b = np.stack([pencil(APART, 4.0, double, seed)[1] for seed in range(3)])
    check_gradient(
        generalised_eigh, backend.array(a), backend.array(b), loss=SquaredEigenvalues(), radius=0.02
    )
    values = generalised_eigh(backend.array(a), backend.array(b)).eigenvalues
    assert tuple(values.shape) == (2, 3, 6)
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
    with pytest.raises(ValueError, match=r"b is not positive definite: .* batch index \(1,\).*exchange"):
        generalised_eigh(backend.array(np.eye(2, dtype=dtype)), backend.array(b))


def test_a_metric_that_is_definite_by_rounding_alone_is_not(backend, real):
    almost = 1.0 - np.finfo(real).epsneg
    b = backend.array(np.array([[1.0, almost], [almost, 1.0]], dtype=real))
    assert np.isnan(backend.numpy(generalised_eigh(b, b, check_finite=False).eigenvalues)).all()
    with pytest.raises(ValueError, match="b is not positive definite"):
        generalised_eigh(b, b)


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
