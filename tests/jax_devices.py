"""Checks on four devices, as which JAX takes one CPU if told so before it starts; run by `test_jax_devices`.

Each check gives what was measured and what is expected. The outcome is printed as JSON.
"""

import json
import sys
import traceback

import jax
import jax.numpy as jnp
import numpy as np

import specgrad_jax
from specgrad import EnergyRatio, MaxRank

jax.config.update("jax_enable_x64", True)
ON_ALL, SPLIT = jax.P(), jax.P("d")
DATA = np.random.default_rng(0).standard_normal((8, 3, 10))
MATRICES = DATA @ np.swapaxes(DATA, -1, -2)
WEIGHT, BIAS = jnp.linspace(0.5, 2.0, 3), jnp.linspace(-1.0, 1.0, 3)


def four(kind=jax.sharding.AxisType.Auto):
    return jax.make_mesh((4,), ("d",), axis_types=(kind,))


def whitened(x, weight, bias):
    return jnp.sum(jnp.sin(specgrad_jax.zca_whiten(x, weight, bias, eps=0.1, truncation=None).whitened))


def truncated(a):
    return jnp.sum(jnp.sin(specgrad_jax.sqrtm(a, truncation=EnergyRatio(0.9))))


def denoised(x):
    return jnp.sum(jnp.sin(specgrad_jax.pca_denoise(x, scaling=None, truncation=MaxRank(2)).denoised))


def in_parts(function, *specs):
    return jax.shard_map(
        lambda *args: jax.lax.psum(function(*args), "d"), mesh=four(), in_specs=specs, out_specs=ON_ALL
    )


def parameters_that_all_parts_share():
    parts = in_parts(whitened, SPLIT, ON_ALL, ON_ALL)
    gradients = (jax.grad(f, (0, 1, 2))(DATA, WEIGHT, BIAS) for f in (parts, whitened))
    return [np.concatenate([np.ravel(g) for g in found]) for found in gradients]


def ranks_that_vary_over_parts():
    return jax.grad(in_parts(truncated, SPLIT))(MATRICES), jax.grad(truncated)(MATRICES)


def exported_for_any_batch():
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 3, 3"), jnp.float64)
    program = jax.export.export(jax.jit(jax.grad(truncated)))(spec)
    return program.call(MATRICES), jax.grad(truncated)(MATRICES)


def batches_on_several_devices_without_jit():
    placed = jax.device_put(jnp.asarray(DATA), jax.NamedSharding(four(), SPLIT))
    gradients = (jax.grad(whitened)(x, WEIGHT, BIAS) + jax.grad(denoised)(x) for x in (placed, DATA))
    return tuple(gradients)


def explicit_sharding():
    with jax.set_mesh(four(jax.sharding.AxisType.Explicit)):
        found = jax.jit(jax.grad(denoised))(jax.device_put(jnp.asarray(DATA), SPLIT))
    return found, jax.grad(denoised)(DATA)


def scales_that_vary_over_one_of_two_axes():
    mesh = jax.make_mesh((2, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    scales = jnp.stack([WEIGHT, 2 * WEIGHT])
    parts = jax.shard_map(
        lambda x, each, bias: jax.lax.psum(whitened(x, each[0], bias), ("x", "y")),
        mesh=mesh,
        in_specs=(jax.P(("x", "y")), jax.P("x"), ON_ALL),
        out_specs=ON_ALL,
    )

    def alone(x, each, bias):
        return whitened(x[:4], each[0], bias) + whitened(x[4:], each[1], bias)

    return tuple(jax.grad(function, 1)(DATA, scales, BIAS) for function in (parts, alone))


CHECKS = (
    parameters_that_all_parts_share,
    ranks_that_vary_over_parts,
    scales_that_vary_over_one_of_two_axes,
    exported_for_any_batch,
    batches_on_several_devices_without_jit,
    explicit_sharding,
)


def outcome(check):
    """Empty if all is well."""
    try:
        measured, expected = check()
        np.testing.assert_allclose(np.asarray(measured), np.asarray(expected), rtol=1e-9, atol=1e-11)
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    assert jax.device_count() == 4
    json.dump({check.__name__: outcome(check) for check in CHECKS}, sys.stdout)
