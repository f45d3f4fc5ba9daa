"""JAX where it refuses to add axes to arrays, as some of its users let it."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed")

import specgrad_jax  # noqa: E402
from specgrad import (  # noqa: E402
    DenseEigh,
    DenseSVD,
    EigenvalueFloor,
    EnergyRatio,
    ExactGap,
    Fallback,
    MaxRank,
    NewtonSchulz,
    NewtonSchulzGradient,
    PowerIteration,
    PowerIterationGap,
    RayleighMismatch,
    Refined,
    TaylorGap,
    ThroughEigenvectors,
    TopNGap,
)

MATRICES = np.stack([np.diag([4.0, 2.0]) + 0.1, np.diag([5.0, 3.0]) - 0.1])
SAMPLES = np.random.default_rng(0).standard_normal((2, 4, 9))
CHOICES = {
    "eigh": [
        *({"gap": rule} for rule in (ExactGap(), PowerIterationGap(3), TaylorGap(4), TopNGap(1))),
        *({"truncation": each} for each in (MaxRank(1), EnergyRatio(0.9) & EigenvalueFloor())),
        *(
            {"solver": each}
            for each in (DenseSVD(), Refined(), Fallback(DenseEigh(), DenseSVD()), PowerIteration(3))
        ),
    ],
    "inv_sqrtm": [
        {},
        {"solver": NewtonSchulz(12)},
        {"truncation": RayleighMismatch() | MaxRank(1)},
        {"gradient": ThroughEigenvectors(PowerIterationGap(3))},
        {"gradient": NewtonSchulzGradient(5)},
    ],
    "zca_whiten": [{}, {"groups": 2, "eps": 0.1}],
    "pca_denoise": [{"truncation": MaxRank(1), "groups": 2}],
    "covariance_pool": [{}, {"solver": NewtonSchulz(12)}],
    "covariance": [{}],
}
CASES = [(name, options) for name, choices in CHOICES.items() for options in choices]


@pytest.fixture(autouse=True)
def refusal():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    with jax.numpy_rank_promotion("raise"):
        yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_stack_has_a_gradient(name, options):
    function = getattr(specgrad_jax, name)
    x = MATRICES if name in ("eigh", "inv_sqrtm") else SAMPLES

    def loss(x):
        outputs = function(x, **options)
        return (outputs[0] if isinstance(outputs, tuple) else outputs).sum()

    assert np.isfinite(jax.grad(loss)(x)).all()


@pytest.mark.parametrize("shape", [(2, 9), (9,), (3, 1, 9)])
def test_weights_of_samples_and_of_variables(shape):
    weights, scales = np.ones(shape), np.ones(4)

    def loss(x):
        whitened = specgrad_jax.zca_whiten(x, scales, 0 * scales, groups=2).whitened
        return (whitened**3).sum() + specgrad_jax.covariance(x, weights).sum()

    assert np.isfinite(jax.grad(loss)(SAMPLES)).all()


def test_matrices_in_one_metric():
    def loss(a, b):
        values, vectors = specgrad_jax.generalised_eigh(a, b)
        return values.sum() + (vectors**4).sum()

    one = np.diag(np.arange(1.0, MATRICES.shape[-1] + 1))
    for pair in ((MATRICES, one), (one, MATRICES)):
        assert all(np.isfinite(g).all() for g in jax.grad(loss, (0, 1))(*pair))


@pytest.mark.parametrize("options", [{}, {"truncation": MaxRank(1)}], ids=str)
def test_second_derivatives(options):
    hessian = jax.hessian(lambda a: specgrad_jax.inv_sqrtm(a, **options).sum())(MATRICES)
    assert np.isfinite(hessian).all()


@pytest.fixture(params=[False, True])
def double(request):
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", request.param)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.usefixtures("double")
def test_where_dtypes_are_not_promoted_a_rank_is_compared_all_the_same():
    with jax.numpy_dtype_promotion("strict"):
        root = specgrad_jax.sqrtm(jax.numpy.diag(jax.numpy.array([4.0, 1.0])), truncation=EnergyRatio(0.7))
    np.testing.assert_allclose(root, np.diag([2.0, 0.0]), atol=1e-6)
