"""Ill-conditioned metrics: small gaps and small parts of gradients that are not rounding."""

import numpy as np
import pytest
from pencils import largest, pencil

from specgrad import MaskedGap, ProjectGauge, RaiseGauge, RoundingFloor, generalised_eigh, vjp


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


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e8, 1e12])
def test_copies_of_an_eigenvalue_are_as_close_as_their_errors_allow(backend, double, condition):
    """The bound of the page on metrics."""
    for seed in range(20):
        a, b, _ = pencil([1.0, 2.0, 2.0, 3.0, 4.0, 5.0], condition, double, seed)
        values, vectors = map(backend.numpy, generalised_eigh(backend.array(a), backend.array(b)))
        scale = np.diag(b).real ** -0.5
        units = np.outer(scale, scale)
        squares = np.sum(np.abs(vectors / scale[:, None]) ** 2, axis=0)
        errors = squares * (largest(a * units) + np.linalg.norm(b * units, 2) * np.abs(values)) + largest(
            values
        )
        assert values[2] - values[1] < np.finfo(double).eps * (errors[1] + errors[2])


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
