"""Ill-conditioned metrics: small gaps and small parts of gradients that are not rounding."""

import numpy as np
import pytest
from pencils import APART, largest, pencil

from specgrad import GaugeError, MaskedGap, ProjectGauge, RaiseGauge, RoundingFloor, generalised_eigh, vjp
from specgrad.testing import ClusterLoss, random_unitary


def cantilever(elements):
    """Mass and stiffness of a beam clamped at one end; displacement and slope of each node."""
    length = 1 / elements
    unit = np.diag([1.0, length, 1.0, length])
    stiff = np.array([[12, 6, -12, 6], [6, 4, -6, 2], [-12, -6, 12, -6], [6, 2, -6, 4]]) / length**3
    heavy = np.array([[156, 22, 54, -13], [22, 4, 13, -3], [54, 13, 156, -22], [-13, -3, -22, 4]])
    mass, stiffness = np.zeros((2, 2 * elements + 2, 2 * elements + 2))
    for start in range(0, 2 * elements, 2):
        element = slice(start, start + 4)
        mass[element, element] += unit @ heavy @ unit * length / 420
        stiffness[element, element] += unit @ stiff @ unit
    return tuple(m[2:, 2:].astype("float32") for m in (mass, stiffness))


def gradient_of_tip(backend, mass, stiffness, mode, **options):
    """The gradient in the metric of the square of a mode's displacement at the tip."""
    output, pullback = vjp(generalised_eigh, backend.array(mass), backend.array(stiffness), **options)
    vectors = backend.numpy(output.eigenvectors)
    cotangent = np.zeros_like(vectors)
    cotangent[-2, mode] = 2 * vectors[-2, mode]
    return backend.numpy(pullback((None, backend.array(cotangent)))[1])


def gradient_by_the_textbook(mass, stiffness, mode):
    """The same from the problem in the metric of the mass, which is well-conditioned."""
    root = np.linalg.inv(np.linalg.cholesky(mass))
    squares, turned = np.linalg.eigh(root @ stiffness @ root.T)
    values, vectors = 1 / squares[::-1], (root.T @ turned / np.sqrt(squares))[:, ::-1]
    inner = np.zeros_like(vectors)
    inner[:, mode] = 2 * vectors[-2] * vectors[-2, mode]
    gaps = values - values[:, None] + np.eye(len(values))
    found = -vectors @ (np.where(np.eye(len(values)), 0.5, values / gaps) * inner) @ vectors.T
    return (found + found.T) / 2


@pytest.mark.parametrize("options", [{}, {"gauge": ProjectGauge()}, {"gauge": RaiseGauge()}], ids=str)
@pytest.mark.parametrize("elements", [6, 10])
def test_modes_of_a_beam_have_a_gradient_in_single_precision(backend, elements, options):
    mass, stiffness = cantilever(elements)
    lengths = np.sqrt(np.outer(np.diag(stiffness), np.diag(stiffness)))
    for mode in (-2, -3, -6):
        measured = gradient_of_tip(backend, mass, stiffness, mode, **options)
        expected = gradient_by_the_textbook(mass.astype("float64"), stiffness.astype("float64"), mode)
        assert largest((measured - expected) * lengths) < 1e-3 * largest(expected * lengths)


def estimated_errors(a, b, values, vectors):
    """The bound of the page on metrics."""
    scale = np.diag(b).real ** -0.5
    squares = np.sum(np.abs(vectors / scale[:, None]) ** 2, axis=0)
    return 4 * np.finfo(values.dtype).eps * squares * (largest(a * np.outer(scale, scale)) + np.abs(values))


@pytest.mark.parametrize("middle", [0.0, 2.0])
@pytest.mark.parametrize("condition", [1e2, 1e4, 1e8, 1e12])
def test_copies_of_an_eigenvalue_are_as_close_as_their_errors_allow(backend, double, condition, middle):
    for seed in range(20):
        a, b, _ = pencil([-1.0, middle, middle, 3.0, 4.0, 5.0], condition, double, seed)
        values, vectors = map(backend.numpy, generalised_eigh(backend.array(a), backend.array(b)))
        errors = estimated_errors(a, b, values, vectors)
        assert values[2] - values[1] < errors[1] + errors[2]


def test_copies_of_a_large_eigenvalue_where_the_metric_is_small_are_equal(backend, double):
    for seed in range(10):
        turned = random_unitary(6, double, np.random.default_rng(seed))
        metric = np.array([1.0, 1.0, 1.0, 1.0, 1e-9, 1e-9])
        a, b = ((turned * x) @ turned.conj().T for x in (metric * np.array([1, 2, 3, 4, 300, 300]), metric))
        arrays = (backend.array((m + m.conj().T) / 2) for m in (a, b))
        output, pullback = vjp(generalised_eigh, *arrays, gauge=RaiseGauge())
        with pytest.raises(GaugeError, match="depends on the phase"):
            pullback(ClusterLoss(((4,),), seed).cotangents(output))


@pytest.mark.parametrize("condition", [1e6, 1e10])
def test_eigenvalues_further_apart_than_their_errors_are_not_equal(backend, double, condition):
    for seed in range(3):
        values = np.array([-1.0, 2.0, 2.0, 3.0, 4.0, 5.0])
        a, b, _ = pencil(values, condition, double, seed)
        errors = estimated_errors(a, b, *map(backend.numpy, generalised_eigh(*map(backend.array, (a, b)))))
        values[2] += 3 * (errors[1] + errors[2])
        a, b, _ = pencil(values, condition, double, seed)
        output, pullback = vjp(generalised_eigh, backend.array(a), backend.array(b), gauge=RaiseGauge())
        pullback(ClusterLoss(((1,), (2,)), seed).cotangents(output))


def test_the_floor_of_a_rule_sees_eigenvectors_of_length_one_in_units_of_the_metric(backend, double):
    a, b, _ = pencil(APART, 100.0, double)
    units = 2.0 ** np.array([0, 9, -9, 4, -4, 1])
    a, b = (m * np.outer(units, units) for m in (a, b))
    level = 0.05  # which cuts through honest entries
    floor = RoundingFloor(factor=level / np.finfo(double).eps, reach=3.0)
    arrays = backend.array(a), backend.array(b)
    output, pullback = vjp(generalised_eigh, *arrays, gap=MaskedGap(noise=floor))
    values, vectors = map(backend.numpy, output)
    cotangents = ClusterLoss(((0,), (1, 2), (4,))).cotangents(output)
    g_vectors = backend.numpy(cotangents.eigenvectors)
    unscaled = vectors * np.diag(b).real[:, None] ** 0.5
    lengths = np.linalg.norm(unscaled, axis=0)
    sizes = np.linalg.norm(g_vectors / np.diag(b).real[:, None] ** 0.5, axis=0) / lengths
    inner = vectors.conj().T @ g_vectors
    odd = (inner - inner.conj().T) / 2
    counts = np.abs(odd) / np.outer(lengths, lengths) > level * (sizes + sizes[:, None])
    assert 10 < np.sum(counts) < 28  # of 30
    pairs = odd * counts / (values - values[:, None] + np.eye(6))
    expected = vectors @ pairs @ vectors.conj().T
    assert largest(backend.numpy(pullback(cotangents)[0]) - expected) < 1e-9 * largest(expected)


def test_a_floor_for_cotangents_of_half_precision_leaves_gradients_where_they_are(backend):
    a, b, _ = pencil([1.0, 1.04, 1.5, 2.0, 3.0, 40.0], 3e3, "float32")
    found = []
    for noise in (None, RoundingFloor(eps=2**-8)):
        output, pullback = vjp(
            generalised_eigh, backend.array(a), backend.array(b), gap=MaskedGap(noise=noise)
        )
        vectors = backend.numpy(output.eigenvectors)
        cotangent = np.zeros_like(vectors)
        cotangent[:, 0] = 2 * np.arange(6) * vectors[:, 0]
        found.append(backend.numpy(pullback((None, backend.array(cotangent)))[0]))
    assert largest(found[1] - found[0]) < 2e-2 * largest(found[0])


def test_a_metric_for_many_matrices_is_named_as_it_was_given(backend):
    many, metric = np.stack([np.eye(2)] * 3), np.diag([1.0, 0.0])
    with pytest.raises(ValueError, match=r"b is not positive definite .* batch index \(\),"):
        generalised_eigh(backend.array(many), backend.array(metric))
