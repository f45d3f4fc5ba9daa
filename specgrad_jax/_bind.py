"""Every primitive as an operation of JAX's autodiff.

The forward pass is a `jax.custom_jvp`, and its tangent is one operation, linear in the incoming tangents:
that evaluates the primitive's jvp, and reverse mode, which transposes it, gets the primitive's vjp.

A `custom_jvp` alone would not do. Reverse mode inlines a ``custom_jvp`` that is applied to a tangent, so the
rule of a primitive inside a rule would be lost, and the Hessian of a matrix function be wrong at ties. And
a vjp is more than a transposed jvp: the rounding floor and the gauge policies look at the cotangent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.custom_derivatives import zero_from_primal
from jax.extend.core import Primitive as Operation
from jax.interpreters import ad, batching, mlir

from specgrad.bind import Evaluate, Primitive

__all__ = ["JAX", "JaxBinding"]


@dataclass(frozen=True)
class JaxBinding(Evaluate):
    """Applies primitives under JAX autodiff."""

    def apply(self, primitive: Primitive, *arrays: Array) -> tuple[Array, ...]:
        return _operation(primitive, *_varying_alike(list(map(jax.numpy.asarray, arrays))))

    def view(self, array: Array) -> np.ndarray | None:
        if isinstance(array, np.ndarray):
            return array
        # Under a derivative this uncovers the value; inside `jit` and `vmap` there is none.
        value = jax.numpy.asarray(jax.lax.stop_gradient(array))
        if isinstance(value, jax.core.Tracer) or any(device.platform != "cpu" for device in value.devices()):
            return None
        # As a NumPy array: JAX would compile each check for each new shape.
        return np.asarray(value)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _operation(primitive: Primitive, *arrays: Array) -> tuple[Array, ...]:
    return tuple(primitive.forward(*arrays))


@_operation.defjvp
def _with_tangents(primitive: Primitive, arrays: Sequence[Array], tangents: Sequence[Array]) -> Any:
    outputs = _operation(primitive, *arrays)
    given = (t if _moves(a) else None for a, t in zip(arrays, tangents, strict=True))
    operands = (*arrays, *outputs, *_with_zeros(given, arrays))
    found = _tangent_map.bind(*operands, rule=_Rule(primitive, len(arrays)))
    # JAX wants the tangent of integers to have no numbers.
    return outputs, tuple(
        t if _moves(y) else zero_from_primal(y) for y, t in zip(outputs, found, strict=True)
    )


@dataclass(frozen=True)
class _Rule:
    """A primitive of so many arrays, whose derivatives are under so many `jax.vmap`.

    Operands of `_tangent_map` are the arrays, the outputs, and a tangent for each array.
    """

    primitive: Primitive
    arrays: int
    vmaps: int = 0

    def split(self, operands: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        return operands[: self.arrays], operands[self.arrays : -self.arrays], operands[-self.arrays :]

    def evaluate(self, derivative: Any, like: int, *groups: Any) -> list[Array]:
        """The derivative for arrays, outputs and what is given, with zeros like a group for None."""

        def function(*groups: Any) -> list[Array]:
            return _with_zeros(derivative(JAX, *map(tuple, groups)), groups[like])

        for _ in range(self.vmaps):
            function = jax.vmap(function)
        return function(*groups)


def _varying_alike(arrays: Sequence[Array]) -> Sequence[Array]:
    """The arrays, as varying over all axes of a `jax.shard_map` over which one of them varies.

    JAX then adds up the cotangents of those that are the same in all parts, such as weights.
    """
    kinds = [getattr(jax.typeof(array), "manual_axis_type", None) for array in arrays]
    varying = [frozenset() if kind is None else kind.varying for kind in kinds]  # older JAX does not say
    axes = frozenset().union(*varying)
    if all(own == axes for own in varying):
        return arrays
    return [
        jax.lax.pcast(array, tuple(axes - own), to="varying") if own != axes else array
        for array, own in zip(arrays, varying, strict=True)
    ]


def _moves(array: Array) -> bool:
    return bool(jax.numpy.issubdtype(array.dtype, jax.numpy.inexact))


def _tangent_type(array: Any) -> Any:
    """Shape, dtype and placement of a tangent, of an array or of its abstract value."""
    given = array if isinstance(array, jax.core.ShapedArray) else jax.typeof(array)
    return given.update(dtype=given.dtype if _moves(given) else np.dtype("float32"), weak_type=False)


def _with_zeros(found: Iterable[Array | None], arrays: Sequence[Array]) -> list[Array]:
    pairs = zip(found, map(_tangent_type, arrays), strict=True)
    return [ad.instantiate_zeros(ad.Zero(like)) if x is None else x for x, like in pairs]


def _transpose(cotangents: Sequence[Any], *operands: Any, rule: _Rule) -> list[Array | None]:
    arrays, outputs, tangents = rule.split(operands)
    # JAX pairs without conjugation: its cotangent is the conjugate of the one in dL = Re <g, dA>.
    given = tuple(None if isinstance(g, ad.Zero) else g.conj() for g in cotangents)
    found = rule.evaluate(rule.primitive.vjp, 0, arrays, outputs, given)
    wanted = [g.conj() if ad.is_undefined_primal(x) else None for g, x in zip(found, tangents, strict=True)]
    return [None] * len(arrays + outputs) + wanted


def _differentiate(operands: Sequence[Any], rates: Sequence[Any], rule: _Rule) -> tuple[Any, Any]:
    fixed, full_rates = operands[: -rule.arrays], tuple(map(ad.instantiate_zeros, rates))
    if any(not isinstance(rate, ad.Zero) for rate in rates[: len(fixed)]):
        return jax.jvp(partial(_evaluate, rule=rule), tuple(operands), full_rates)
    along = _tangent_map.bind(*fixed, *full_rates[len(fixed) :], rule=rule)
    return _tangent_map.bind(*operands, rule=rule), along


def _batch(operands: Sequence[Any], axes: Sequence[int | None], rule: _Rule) -> tuple[Any, Any]:
    pairs = list(zip(operands, axes, strict=True))
    length = next(x.shape[axis] for x, axis in pairs if axis is not None)
    ahead = [batching.bdim_at_front(x, axis, length) for x, axis in pairs]
    found = _tangent_map.bind(*ahead, rule=replace(rule, vmaps=rule.vmaps + 1))
    return found, [0] * len(found)


def _evaluate(*operands: Array, rule: _Rule) -> list[Array]:
    return rule.evaluate(rule.primitive.jvp, 1, *rule.split(operands))


_tangent_map = Operation("specgrad_tangent_map")
_tangent_map.multiple_results = True
_tangent_map.def_impl(_evaluate)
_tangent_map.def_abstract_eval(lambda *operands, rule: list(map(_tangent_type, rule.split(operands)[1])))
ad.primitive_jvps[_tangent_map] = _differentiate
ad.primitive_transposes[_tangent_map] = _transpose
batching.primitive_batchers[_tangent_map] = _batch
mlir.register_lowering(_tangent_map, mlir.lower_fun(_evaluate, multiple_results=True))

JAX = JaxBinding()
