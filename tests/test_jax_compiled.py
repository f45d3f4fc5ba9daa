"""What is looked at inside and outside of JAX's compiler, and where gradients are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from backends import required

try:
    import jax
except ImportError:
    if "jax" in required():
        raise
    pytest.skip("jax is not installed", allow_module_level=True)

import jax.numpy as jnp

import specgrad_jax
from specgrad import EigenvalueFloor, EnergyRatio, FromDerivative

ROUNDING = 1e3 * np.finfo(np.float64).eps
Q = np.linalg.qr(np.random.default_rng(6).standard_normal((4, 4)))[0]
A_TIE = (Q * np.array([1.0, 1.0, 2.0, 4.0])) @ Q.T
A_TIE = (A_TIE + A_TIE.T) / 2
BROKEN = np.stack([np.eye(2), np.full((2, 2), np.nan)])


@pytest.fixture(autouse=True)
def double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("transform", [lambda f: f, jax.grad, jax.hessian], ids=["none", "grad", "hessian"])
def test_values_are_looked_at_outside_jit(transform):
    with pytest.raises(ValueError, match="batch index"):
        transform(lambda a: specgrad_jax.eigvalsh(a).sum())(jnp.asarray(BROKEN))


def test_values_of_numpy_are_looked_at_inside_jit_too():
    with pytest.raises(ValueError, match="batch index"):
        jax.jit(lambda x: x * specgrad_jax.eigvalsh(BROKEN).sum())(1.0)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, lambda f: f])
def test_an_option_is_a_number_whatever_is_traced(transform):
    def loss(floor):
        return specgrad_jax.spectral_projector(jnp.asarray(A_TIE), EigenvalueFloor(floor))[0, 0]

    with pytest.raises(TypeError, match="let it scale or move the matrix if it is traced"):
        transform(loss)(jnp.asarray(1.5))


def test_inside_jit_a_broken_matrix_gives_nan_for_itself_alone():
    gradient = jax.jit(jax.grad(lambda a: specgrad_jax.eigvalsh(a).sum()))(BROKEN)
    assert (gradient[0] == np.eye(2)).all()
    assert np.isnan(gradient[1]).all()


def test_a_constant_inside_jit_is_traced_too():
    constant = jnp.asarray(A_TIE)
    found = jax.jit(lambda x: x * specgrad_jax.eigvalsh(constant).sum())(1.0)
    assert float(found) == pytest.approx(8.0, rel=ROUNDING)


@pytest.mark.parametrize("function", [specgrad_jax.sqrtm, specgrad_jax.eigvalsh])
def test_gradients_stay_where_their_arrays_are(function):
    mesh = jax.make_mesh((1,), ("batch",))
    batch = jnp.asarray(np.stack([A_TIE, 2 * A_TIE]))
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(function(x))))
    with jax.set_mesh(mesh):
        placed = jax.device_put(batch, jax.NamedSharding(mesh, jax.P("batch")))
        found = jax.jit(gradient)(placed)
        assert jax.typeof(found).sharding.spec == jax.P("batch", None, None)
        each = jax.shard_map(function, in_specs=jax.P("batch"), out_specs=jax.P("batch"))
        in_parts = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(each(x)))))(placed)
    for other in (found, in_parts):
        np.testing.assert_allclose(other, gradient(batch), atol=ROUNDING)


@pytest.mark.parametrize("options", [{}, {"truncation": EnergyRatio(0.9)}], ids=["whole", "truncated"])
def test_the_program_of_a_hessian_does_not_grow_with_the_matrix(options):
    def length(size):
        hessian = jax.jit(jax.hessian(lambda a: jnp.trace(specgrad_jax.logm(a, **options))))
        return len(hessian.lower(jnp.eye(size)).as_text())

    assert length(6) < 1.1 * length(3)


@pytest.mark.parametrize("second", [lambda f: jax.grad(lambda a: jnp.sum(jax.grad(f)(a) ** 2)), jax.hessian])
def test_a_second_derivative_outside_jit_is_not_compiled_for_each_call(second, caplog):
    derivative = second(lambda a: jnp.trace(specgrad_jax.expm(a)))
    for scale in (1.0, 2.0, 3.0):
        caplog.clear()
        with jax.log_compiles():
            derivative(scale * jnp.eye(3))
    assert not [record for record in caplog.records if "Compiling" in record.message]


def test_a_function_of_the_user_may_look_at_values_outside_jit():
    def slope(x):
        return 2 * x if bool(jnp.all(x > 0)) else -2 * x

    square = FromDerivative(lambda x: x * x, slope)
    found = jax.jvp(
        jax.grad(lambda a: jnp.trace(specgrad_jax.matrix_function(a, square))), (A_TIE,), (A_TIE,)
    )[1]
    np.testing.assert_allclose(found, 2 * A_TIE, atol=ROUNDING)


@dataclass(frozen=True)
class Scaled:
    factor: Any

    def __call__(self, values):
        return self.factor * values

    def divided_difference(self, x, y):
        return self.factor + 0.0 * (x + y)


def test_equal_numbers_of_two_libraries_are_two_functions():
    a = jnp.eye(3, dtype=jnp.float32)
    for factor in (0.5, np.float64(0.5), np.float32(0.5), 0.5):
        found = jax.jit(lambda a, f=factor: specgrad_jax.matrix_function(a, Scaled(f)))(a)
        np.testing.assert_allclose(found, 0.5 * a)


@pytest.mark.parametrize("name", ["inv_sqrtm", "logm", "whitening_matrix"])
def test_what_a_truncation_drops_is_no_nan_on_the_way(name):
    with jax.debug_nans(True):
        found = getattr(specgrad_jax, name)(
            jnp.diag(jnp.array([1.0, 2.0, 0.0])), truncation=EigenvalueFloor()
        )
    assert np.isfinite(found).all()
