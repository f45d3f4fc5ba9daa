"""The functions under JAX: each transform, ties, conventions, and what is different from other frameworks."""

from functools import partial

import numpy as np
import pytest
from backends import required

import specgrad
from specgrad import (
    DenseEigh,
    DenseSVD,
    EnergyRatio,
    Fallback,
    FromDerivative,
    GaugeError,
    GaugeWarning,
    MaskedGap,
    MaxRank,
    RaiseGauge,
    WarnGauge,
)

try:
    import jax
except ImportError:
    if "jax" in required():
        raise
    pytest.skip("jax is not installed", allow_module_level=True)

import jax.numpy as jnp

import specgrad_jax

EPS = np.finfo(np.float64).eps
ROUNDING = 1e3 * EPS
SINGLE = 1e3 * float(np.finfo(np.float32).eps)
# Central differences with a step of eps**(1/3), on numbers of order 1.
DIFFERENCES = 1e3 * EPS ** (2 / 3)

random = np.random.default_rng(6)
Q = np.linalg.qr(random.standard_normal((4, 4)))[0]
A_TIE = (Q * np.array([1.0, 1.0, 2.0, 4.0])) @ Q.T
A_TIE = (A_TIE + A_TIE.T) / 2
WEIGHTS = random.standard_normal((4, 4))
DIRECTION = random.standard_normal((4, 4))
DIRECTION = DIRECTION + DIRECTION.T


@pytest.fixture(autouse=True)
def enable_double_precision(request):
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", getattr(request, "param", True))
    yield
    jax.config.update("jax_enable_x64", before)


def subspace(result, columns):
    """The projector on some of the eigenvectors."""
    chosen = result.eigenvectors[..., :, columns]
    return chosen @ chosen.mT.conj()


def kept_part(result):
    return (result.eigenvectors * result.eigenvalues[..., None, :]) @ result.eigenvectors.mT


# Smooth where A_TIE has its tie, and written for any of the modules of functions.
FUNCTIONS = {
    "covariance": lambda module, a: module.covariance(a),
    "covariance_pool": lambda module, a: module.covariance_pool(a, eps=0.1)[..., :4],
    "denoising_matrix": lambda module, a: module.denoising_matrix(a, truncation=MaxRank(2)),
    "eigh": lambda module, a: subspace(module.eigh(a), slice(0, 2)),
    "eigh, by rank": lambda module, a: kept_part(module.eigh(a, truncation=MaxRank(2))),
    "eigh, by energy": lambda module, a: kept_part(module.eigh(a, truncation=EnergyRatio(0.7))),
    "eigh, two solvers": lambda module, a: subspace(
        module.eigh(a, solver=Fallback(DenseSVD(), DenseEigh())), slice(0, 2)
    ),
    "eigvalsh": lambda module, a: module.eigvalsh(a)[..., None, :] ** 3 * (0.0 * WEIGHTS + 0.25),
    "expm": lambda module, a: module.expm(a),
    "generalised_eigh": lambda module, a: subspace(module.generalised_eigh(a, a @ a), slice(2, 4)),
    "inv_sqrtm": lambda module, a: module.inv_sqrtm(a),
    "logm": lambda module, a: module.logm(a),
    "matrix_function": lambda module, a: module.matrix_function(
        a, FromDerivative(lambda x: x**3, lambda x: 3 * x**2)
    ),
    "pca_denoise": lambda module, a: module.pca_denoise(a, truncation=MaxRank(2)).denoised,
    "powm": lambda module, a: module.powm(a, 1.5),
    "spectral_projector": lambda module, a: module.spectral_projector(a, MaxRank(2)),
    "sqrtm": lambda module, a: module.sqrtm(a),
    "sqrtm, by rank": lambda module, a: module.sqrtm(a, truncation=MaxRank(2)),
    "whitening_matrix": lambda module, a: module.whitening_matrix(a),
    "zca_whiten": lambda module, a: module.zca_whiten(a, eps=0.1, truncation=None).whitened,
}


def loss(name, module=specgrad_jax):
    weights = np.ones_like(WEIGHTS) if name == "eigvalsh" else WEIGHTS
    return lambda a: (weights.astype(a.dtype) * FUNCTIONS[name](module, a)).sum()


def slope(function, a, direction):
    """The derivative along a direction, by central differences."""
    step = EPS ** (1 / 3)
    return (function(a + step * direction) - function(a - step * direction)) / (2 * step)


def error(found, expected):
    return float(np.max(np.abs(np.asarray(found) - expected)) / np.max(np.abs(expected)))


def test_every_public_function_is_bound():
    functions = {name: x for name, x in vars(specgrad).items() if not isinstance(x, type)}
    differentiable = {name for name in specgrad.__all__ if hasattr(functions.get(name), "bound")}
    assert set(specgrad_jax.__all__) == differentiable
    assert differentiable == {name.partition(",")[0] for name in FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_traced_is_that_of_finite_differences(name):
    gradient = jax.jit(jax.grad(loss(name)))(A_TIE)
    expected = slope(loss(name, specgrad), A_TIE, DIRECTION)
    assert np.sum(np.asarray(gradient) * DIRECTION) == pytest.approx(
        expected, rel=DIFFERENCES, abs=DIFFERENCES
    )


TRANSFORMS = {
    "eager": lambda f: jax.grad(f),
    "jit": lambda f: jax.jit(jax.grad(f)),
    "vmap of grad": lambda f: lambda a: jax.vmap(jax.grad(f))(jnp.stack([a, 2 * a]))[0],
    "vmap, last axis": lambda f: (
        lambda a: jax.vmap(jax.grad(f), in_axes=2)(jnp.stack([a, 2 * a], axis=-1))[0]
    ),
    "grad of vmap": lambda f: jax.grad(lambda a: jax.vmap(f)(jnp.stack([a, 0.5 * a]))[0]),
    "jacfwd": lambda f: jax.jit(jax.jacfwd(f)),
    "jacrev": lambda f: jax.jit(jax.jacrev(f)),
    "checkpoint": lambda f: jax.jit(jax.grad(jax.checkpoint(f))),
    "scan": lambda f: jax.jit(
        jax.grad(lambda a: jax.lax.scan(lambda total, x: (total + f(x), None), 0.0, jnp.stack([a, a]))[0] / 2)
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", ["eigh, by energy", "inv_sqrtm"])
def test_a_gradient_survives_each_transform(name, transform):
    gradient = TRANSFORMS[transform](loss(name))(jnp.asarray(A_TIE))
    expected = slope(loss(name, specgrad), A_TIE, DIRECTION)
    assert np.sum(np.asarray(gradient) * DIRECTION) == pytest.approx(expected, rel=DIFFERENCES)


@pytest.mark.parametrize(
    "hessian",
    [jax.hessian, lambda f: jax.jacrev(jax.jacrev(f)), lambda f: jax.jacfwd(jax.jacfwd(f))],
    ids=["forward over reverse", "reverse over reverse", "forward over forward"],
)
@pytest.mark.parametrize(("name", "factor"), [("sqrtm", -1 / 8), ("inv_sqrtm", 3 / 8)])
def test_hessian_of_a_matrix_function_where_all_eigenvalues_agree(hessian, name, factor):
    second = jax.jit(hessian(loss(name)))(jnp.eye(4))
    # (I + E)^p = I + p E + p (p - 1)/2 E^2 + ...
    expected = factor * 2 * np.sum(WEIGHTS * (DIRECTION @ DIRECTION))
    found = np.einsum("ij,ijkl,kl", DIRECTION, np.asarray(second), DIRECTION)
    assert found == pytest.approx(expected, rel=ROUNDING)


def test_hessian_through_eigenvectors_off_ties():
    a = np.asarray(A_TIE + 0.3 * np.outer(Q[:, 0], Q[:, 0]))
    second = jax.jit(jax.hessian(loss("eigh")))(a)
    found = np.tensordot(np.asarray(second), DIRECTION, 2)
    gradient = jax.jit(jax.grad(loss("eigh")))
    assert error(found, slope(lambda x: np.asarray(gradient(x)), a, DIRECTION)) < DIFFERENCES


@pytest.mark.parametrize(
    "hessian",
    [jax.hessian, lambda f: jax.jacrev(jax.jacrev(f)), lambda f: jax.jacfwd(jax.jacfwd(f))],
    ids=["forward over reverse", "reverse over reverse", "forward over forward"],
)
def test_hessian_at_the_optimum_of_a_loss(hessian):
    turn = jnp.zeros((3, 3)).at[1, 2].set(1.0).at[2, 1].set(1.0)

    def loss(s):
        return -(
            specgrad_jax.eigh(jnp.diag(jnp.asarray([0.5, 0.97, 1.0])) + s * turn).eigenvectors[2, 2] ** 2
        )

    assert float(jax.jit(hessian(loss))(0.0)) == pytest.approx(2 / 0.03**2, rel=1e-10)


def test_at_ties_the_library_has_nan_and_this_has_the_gradient():
    a = jnp.diag(jnp.asarray([1.0, 3.0, 3.0]))
    weights = jnp.asarray([[0.0, 1.0, 2.0], [1.0, 0.0, 5.0], [2.0, 5.0, 0.0]])

    def projector_loss(eigh, a):
        vectors = eigh(a)[1][:, 1:]
        return jnp.sum(weights * (vectors @ vectors.T))

    assert jnp.isnan(jax.jit(jax.grad(partial(projector_loss, jnp.linalg.eigh)))(a)).any()
    # weights/(l_kept - l_dropped) across the cut, and nothing inside the tie.
    expected = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]) / 2
    assert error(jax.jit(jax.grad(partial(projector_loss, specgrad_jax.eigh)))(a), expected) < ROUNDING


def nearly_tied_projector_error(gap, gradient):
    """Relative error of the gradient of a loss of the plane of two eigenvalues that far apart."""
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    a = (q * np.array([1.0, 1.0 + gap, *range(2, 16)])) @ q.T
    weights = np.add.outer(np.arange(16.0), np.arange(16.0) ** 2)
    weights = weights + weights.T
    found = gradient(lambda a: (weights * subspace(specgrad_jax.eigh(a), slice(0, 2))).sum())(jnp.asarray(a))
    # The projector on the plane moves by 1/(l_kept - l_dropped) across the cut alone, at any gap inside.
    values, q = np.linalg.eigh(a)
    across = np.zeros((16, 16))
    across[:2, 2:] = 1 / (values[:2, None] - values[None, 2:])
    expected = q @ ((across + across.T) * (q.T @ weights @ q)) @ q.T
    return error(found, expected)


@pytest.mark.parametrize(
    "gradient",
    [jax.grad, lambda f: lambda a: jax.grad(lambda direction: jax.jvp(f, (a,), (direction,))[1])(0 * a)],
    ids=["alone", "of a tangent in its direction"],
)
@pytest.mark.parametrize("gap", [1e-6, 1e-9, 1e-12])
def test_rounding_floor_acts_in_reverse_mode(gap, gradient):
    assert nearly_tied_projector_error(gap, gradient) < ROUNDING


def test_a_loss_of_the_basis_of_a_tie_is_reported_where_it_was_written():
    with pytest.warns(specgrad.GaugeWarning) as caught:
        jax.grad(lambda a: specgrad_jax.eigh(a).eigenvectors[0, 0])(jnp.asarray(A_TIE))
    assert [warning.filename for warning in caught] == [__file__]


def test_complex_cotangents_are_conjugated():
    factor = np.random.default_rng(2).standard_normal((3, 3, 2)) @ np.array([1.0, 1.0j])
    a = factor @ factor.conj().T + np.eye(3)
    weights = np.random.default_rng(3).standard_normal((3, 3, 2)) @ np.array([1.0, 1.0j])
    _, pullback = specgrad.vjp(specgrad.inv_sqrtm, a)
    (expected,) = pullback(weights)  # dL = Re <g, dA>, of the loss Re <weights, output>
    found = jax.grad(lambda a: jnp.sum(jnp.conj(weights) * specgrad_jax.inv_sqrtm(a)).real)(jnp.asarray(a))
    assert error(found, expected.conj()) < ROUNDING
    assert error(found, expected) > 0.1


def test_a_rank_has_a_tangent_without_numbers():
    function = partial(specgrad_jax.eigh, truncation=EnergyRatio(0.7))
    result, tangent = jax.jvp(function, (jnp.asarray(A_TIE),), (jnp.asarray(DIRECTION),))
    assert result.rank.dtype == jnp.int32
    assert tangent.rank.dtype == jax.dtypes.float0
    assert tangent.eigenvectors.shape == (4, 4)


def test_options_are_static_arguments_of_jit():
    function = jax.jit(specgrad_jax.eigh, static_argnames=("gap", "truncation"))
    result = function(A_TIE, gap=MaskedGap(tolerance=1e-3), truncation=MaxRank(2))
    assert isinstance(result, specgrad.TruncatedEighResult)
    assert error(result.eigenvalues, np.array([4.0, 2.0])) < ROUNDING


@pytest.mark.parametrize("enable_double_precision", [False], indirect=True, ids=["x32"])
@pytest.mark.parametrize("name", ["eigh, by energy", "inv_sqrtm"])
def test_single_precision_where_double_is_off(name, enable_double_precision):
    gradient = jax.jit(jax.grad(loss(name)))(A_TIE.astype(np.float32))
    assert gradient.dtype == jnp.float32
    expected = slope(loss(name, specgrad), A_TIE, DIRECTION)
    assert np.sum(np.asarray(gradient) * DIRECTION) == pytest.approx(expected, rel=SINGLE)


def test_half_precision_is_computed_in_single():
    gradient = jax.grad(lambda a: specgrad_jax.eigvalsh(a).sum())(jnp.eye(2, dtype=jnp.bfloat16))
    assert specgrad_jax.eigvalsh(jnp.eye(2, dtype=jnp.bfloat16)).dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    with pytest.raises(TypeError, match="does not know dtype bfloat16: convert first"):
        specgrad.eigvalsh(np.eye(2).astype(jnp.bfloat16))
    assert (gradient == jnp.eye(2)).all()


def test_a_matrix_and_a_metric_of_numpy_are_taken():
    gradient = jax.jit(jax.grad(lambda a: specgrad_jax.generalised_eigh(a, 2 * np.eye(4)).eigenvalues.sum()))
    np.testing.assert_allclose(gradient(A_TIE), np.eye(4) / 2, atol=ROUNDING)
    gradient = jax.jit(jax.grad(lambda b: specgrad_jax.generalised_eigh(np.eye(4), b).eigenvalues.sum()))
    np.testing.assert_allclose(gradient(2 * jax.numpy.eye(4)), -np.eye(4) / 4, atol=ROUNDING)


def test_arrays_of_numpy_are_taken():
    assert isinstance(specgrad_jax.eigvalsh(A_TIE), jax.Array)


@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
def test_a_second_derivative_at_a_tie_meets_the_gauge_policy_too(outer):
    def entry(a, gauge):
        return specgrad_jax.eigh(a, gauge=gauge).eigenvectors[0, 1]

    a = jnp.diag(jnp.array([3.0, 3.0, 1.0]))
    with pytest.warns(GaugeWarning, match="phase of an eigenvector"):
        assert jnp.isfinite(outer(jax.grad(partial(entry, gauge=WarnGauge())))(a)).all()
    with pytest.raises(GaugeError, match="phase of an eigenvector"):
        outer(jax.grad(partial(entry, gauge=RaiseGauge())))(a)
