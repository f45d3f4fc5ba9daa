"""Derivatives of covariance, pooling, whitening and PCA denoising."""

import numpy as np
import pytest
from sampling import samples, weights_of

from specgrad import (
    DaleckiiKrein,
    EigenvalueFloor,
    EnergyRatio,
    Log,
    MaskedGap,
    MaxRank,
    NewtonSchulz,
    NewtonSchulzGradient,
    Power,
    PowerIterationGap,
    Standardise,
    ThroughEigenvectors,
    covariance,
    covariance_pool,
    pca_denoise,
    vjp,
    zca_whiten,
)
from specgrad.testing import check_gradient

WHITENINGS = [
    {"truncation": None},
    {"truncation": MaxRank(3), "groups": 1},
    {"groups": 2, "eps": 0.1},
    {"groups": 6, "correction": 1},
    {"truncation": None, "solver": NewtonSchulz(12), "eps": 0.5},
]
DENOISINGS = [
    {"truncation": MaxRank(2)},
    {"truncation": MaxRank(1), "groups": 2, "scaling": Standardise(eps=0.3)},
    {"truncation": EnergyRatio(0.8), "scaling": None, "correction": 1},
]
POOLINGS = [
    {"eps": 0.1},
    {"function": Power(0.3), "correction": 1},
    {"function": Log(), "truncation": EigenvalueFloor(relative=0.05)},
    {"solver": NewtonSchulz(12)},
]


@pytest.mark.parametrize("correction", [0, 1])
def test_gradient_of_the_covariance(backend, double, correction):
    x = backend.array(samples(double, (2, 4, 9)))
    check_gradient(covariance, x, hermitian=False, correction=correction)
    weights = backend.array(weights_of((2, 9)))
    check_gradient(covariance, x, weights, hermitian=False, radius=0.01, correction=correction, eps=0.1)
    for data, shape in ((x, 9), (x, (3, 1, 9)), (x[0, ...], (3, 9)), (x[:1, ...], (3, 9))):
        weights = backend.array(weights_of(shape))
        check_gradient(covariance, data, weights, hermitian=False, radius=0.01, correction=correction)


@pytest.mark.parametrize("options", WHITENINGS, ids=str)
def test_gradient_of_whitening(backend, double, options):
    x = backend.array(samples(double, (2, 6, 20)))
    weight, bias = backend.array(weights_of(6)), backend.array(weights_of(6, 2))
    check_gradient(zca_whiten, x, weight, bias, hermitian=False, radius=0.01, **options)


@pytest.mark.parametrize("function", [zca_whiten, pca_denoise])
def test_gradient_with_weight_and_bias_that_are_complex(backend, function):
    x = backend.array(samples("complex128", (6, 20)))
    weight, bias = (backend.array(weights_of(6, k) + 1j * weights_of(6, k + 1)) for k in (3, 5))
    check_gradient(function, x, weight, bias, hermitian=False, radius=0.01, truncation=MaxRank(3))


@pytest.mark.parametrize("options", DENOISINGS, ids=str)
def test_gradient_of_denoising(backend, double, options):
    x = backend.array(samples(double, (2, 6, 20)))
    weight, bias = backend.array(weights_of(6)), backend.array(weights_of(6, 2))
    check_gradient(pca_denoise, x, weight, bias, hermitian=False, radius=0.01, **options)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_gradient_of_whitening_in_single_precision_at_both_ends_of_its_range(backend, size):
    generator = np.random.default_rng(4)
    data, cotangent = generator.standard_normal((2, 4, 50))
    gradients = []
    for precision in ("float32", "float64"):
        x = backend.array((size * data.astype("float32")).astype(precision))
        _, pullback = vjp(zca_whiten, x)
        gradients.append(backend.numpy(pullback((backend.array(cotangent.astype(precision)), None, None))[0]))
    single, exact = (gradient.astype("float64") for gradient in gradients)
    assert np.linalg.norm(single - exact) <= 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize("size", [1e-100, 1e100])
def test_gradient_of_whitening_in_double_precision_at_both_ends_of_its_range(backend, size):
    data, cotangent = np.random.default_rng(4).standard_normal((2, 4, 50))
    gradients = []
    for scale in (1.0, size):
        _, pullback = vjp(zca_whiten, backend.array(scale * data))
        gradients.append(scale * backend.numpy(pullback((backend.array(cotangent), None, None))[0]))
    np.testing.assert_allclose(gradients[1], gradients[0], atol=1e-12 * np.max(abs(gradients[0])))


@pytest.mark.parametrize("function", [zca_whiten, pca_denoise])
def test_gradient_without_weight_and_bias(backend, function):
    check_gradient(function, backend.array(samples(shape=(6, 20))), hermitian=False, radius=0.01)


@pytest.mark.parametrize("options", POOLINGS, ids=str)
def test_gradient_of_pooling(backend, double, options):
    x = backend.array(samples(double, (2, 4, 20)))
    check_gradient(covariance_pool, x, hermitian=False, radius=0.01, **options)


def test_a_white_input_has_a_gradient_that_turns_with_the_basis(backend, double):
    x = backend.numpy(zca_whiten(backend.array(samples(double)), truncation=None).whitened)
    g = samples(double, seed=3)
    rotation, _ = np.linalg.qr(samples(double, (6, 6), seed=4))

    def gradient(x, g):
        _, pullback = vjp(zca_whiten, backend.array(x), truncation=None)
        return backend.numpy(pullback((backend.array(g), None, None))[0])

    turned = gradient(rotation @ x, rotation @ g)
    np.testing.assert_allclose(turned, rotation @ gradient(x, g), atol=1e-12)


def test_an_eigenvector_rule_is_wrong_at_a_white_input(backend):
    """Why whitening needs the exact rule: this is what the exact one is compared with."""
    x = backend.numpy(zca_whiten(backend.array(samples()), truncation=None).whitened)
    g = backend.array(samples(seed=3))

    def gradient(**options):
        _, pullback = vjp(zca_whiten, backend.array(x), truncation=None, **options)
        return backend.numpy(pullback((g, None, None))[0])

    exact = gradient()
    composed = gradient(gradient=ThroughEigenvectors(PowerIterationGap(19)))
    assert np.linalg.norm(composed - exact) >= 0.1 * np.linalg.norm(exact)


@pytest.mark.filterwarnings("ignore::specgrad.GaugeWarning")
def test_the_gradient_at_a_tie_on_the_cut_is_bounded_as_the_gap_rule_says(backend):
    # Standardised independent variables of equal variance: the cut of rank 2 goes through a tie.
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype="float64")
    x, g = signs[1:], samples(shape=(3, 4))
    _, pullback = vjp(
        zca_whiten, backend.array(x), truncation=MaxRank(2), gradient=DaleckiiKrein(cut=MaskedGap())
    )
    (gradient,) = pullback((backend.array(g), None, None))
    gradient = backend.numpy(gradient)
    assert np.isfinite(gradient).all()
    assert np.linalg.norm(gradient) <= 4 * np.linalg.norm(g)


def test_both_ways_to_the_root_agree(backend):
    x = backend.array(samples())
    g = backend.array(samples(seed=3))
    results = []
    for options in ({}, {"solver": NewtonSchulz(25)}, {"gradient": NewtonSchulzGradient(25)}):
        output, pullback = vjp(zca_whiten, x, truncation=None, eps=0.1, **options)
        results.append((backend.numpy(output.whitened), backend.numpy(pullback((g, None, None))[0])))
    for whitened, gradient in results[1:]:
        np.testing.assert_allclose(whitened, results[0][0], atol=1e-10)
        np.testing.assert_allclose(gradient, results[0][1], atol=1e-10)
