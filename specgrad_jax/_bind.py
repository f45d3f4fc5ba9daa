"""Every primitive as an operation of JAX's autodiff.

Two pieces serve all primitives:

`_operation`
    The forward pass, as a `jax.custom_jvp`. JAX traces it, batches it and asks for its tangent.
`_tangent_map`
    That tangent, as one operation that is linear in the incoming tangents. It evaluates the primitive's jvp,
    and reverse mode, which transposes it, gets the primitive's vjp.

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
from jax.extend.core import Primitive as Operation
from jax.interpreters import ad, batching, mlir

from specgrad.bind import Primitive

__all__ = ["JAX", "JaxBinding"]


class JaxBinding:
    """Applies primitives under JAX autodiff."""

    def apply(self, primitive: Primitive, *arrays: Array) -> tuple[Array, ...]:
        return _operation(primitive, *map(jax.numpy.asarray, arrays))

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
def _outputs_and_tangents(primitive: Primitive, arrays: Sequence[Array], tangents: Sequence[Array]) -> Any:
    outputs = _operation(primitive, *arrays)
    given = (t if _moves(a) else None for a, t in zip(arrays, tangents, strict=True))
    operands = (*arrays, *outputs, *_with_zeros(given, arrays))
    found = _tangent_map.bind(*operands, rule=_Rule(primitive, len(arrays)))
    # JAX wants the tangent of integers to have no numbers.
    none = partial(np.zeros, dtype=jax.dtypes.float0)
    return outputs, tuple(t if _moves(y) else none(y.shape) for y, t in zip(outputs, found, strict=True))


@dataclass(frozen=True)
class _Rule:
    """The derivatives of a primitive on the operands of `_tangent_map`, under so many `jax.vmap`.

    Operands are its arrays, so many, its outputs, and a tangent for each array.
    """

    primitive: Primitive
    arrays: int
    vmaps: int = 0

    def split(self, operands: Sequence[Any]) -> tuple[tuple[Any, ...], ...]:
        arrays, rest = operands[: self.arrays], operands[self.arrays :]
        return tuple(arrays), tuple(rest[: -self.arrays]), tuple(rest[-self.arrays :])

    def jvp(self, *operands: Array) -> list[Array]:
        return self._on_batches(self.primitive.jvp, 1)(*self.split(operands))

    def vjp(self, arrays: Any, outputs: Any, given: tuple[Array | None, ...]) -> list[Array]:
        return self._on_batches(self.primitive.vjp, 0)(arrays, outputs, given)

    def _on_batches(self, derivative: Any, like: int) -> Any:
        """The derivative as a function of arrays, outputs and what is given, with zeros for None."""

        def function(*groups: Any) -> list[Array]:
            return _with_zeros(derivative(JAX, *groups), groups[like])

        for _ in range(self.vmaps):
            function = jax.vmap(function)
        return function


def _moves(array: Array) -> bool:
    return bool(jax.numpy.issubdtype(array.dtype, jax.numpy.inexact))


def _tangent_shape(array: Array) -> Any:
    return jax.core.ShapedArray(array.shape, array.dtype if _moves(array) else np.float32)


def _with_zeros(found: Iterable[Array | None], arrays: Sequence[Array]) -> list[Array]:
    pairs = zip(found, map(_tangent_shape, arrays), strict=True)
    return [jax.numpy.zeros(like.shape, like.dtype) if x is None else x for x, like in pairs]


def _transpose(cotangents: Sequence[Any], *operands: Any, rule: _Rule) -> list[Array | None]:
    arrays, outputs, tangents = rule.split(operands)
    # JAX pairs without conjugation: its cotangent is the conjugate of the one in dL = Re <g, dA>.
    given = tuple(None if isinstance(g, ad.Zero) else jax.numpy.conj(g) for g in cotangents)
    found = map(jax.numpy.conj, rule.vjp(arrays, outputs, given))
    wanted = [g if ad.is_undefined_primal(x) else None for g, x in zip(found, tangents, strict=True)]
    return [None] * len(arrays + outputs) + wanted


def _differentiate(operands: Sequence[Any], rates: Sequence[Any], rule: _Rule) -> tuple[Any, Any]:
    fixed = len(operands) - rule.arrays
    is_linear = all(isinstance(rate, ad.Zero) for rate in rates[:fixed])
    rates = tuple(map(ad.instantiate_zeros, rates))
    if not is_linear:
        return jax.jvp(rule.jvp, tuple(operands), rates)
    along = _tangent_map.bind(*operands[:fixed], *rates[fixed:], rule=rule)
    return _tangent_map.bind(*operands, rule=rule), along


def _batch(operands: Sequence[Any], axes: Sequence[int | None], rule: _Rule) -> tuple[Any, Any]:
    length = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    ahead = [batching.bdim_at_front(x, axis, length) for x, axis in zip(operands, axes, strict=True)]
    found = _tangent_map.bind(*ahead, rule=replace(rule, vmaps=rule.vmaps + 1))
    return found, [0] * len(found)


def _evaluate(*operands: Array, rule: _Rule) -> list[Array]:
    return rule.jvp(*operands)


_tangent_map = Operation("specgrad_tangent_map")
_tangent_map.multiple_results = True
_tangent_map.def_impl(_evaluate)
_tangent_map.def_abstract_eval(lambda *operands, rule: list(map(_tangent_shape, rule.split(operands)[1])))
ad.primitive_jvps[_tangent_map] = _differentiate
ad.primitive_transposes[_tangent_map] = _transpose
batching.primitive_batchers[_tangent_map] = _batch
mlir.register_lowering(_tangent_map, mlir.lower_fun(_evaluate, multiple_results=True))

JAX = JaxBinding()
