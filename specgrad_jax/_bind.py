"""Every primitive as an operation of JAX's autodiff.

The forward pass is one operation, and its tangent is another, linear in the incoming tangents: that evaluates
the primitive's jvp, and reverse mode, which transposes it, gets the primitive's vjp.

A `jax.custom_jvp` would not do. Reverse mode inlines one that is applied to a tangent, or in a loop, so that
its rule would be lost, and the Hessian of a matrix function be wrong at ties. And a vjp is more than a
transposed jvp: the rounding floor and the gauge policies look at the cotangent. Only a primitive with parts
that hold arrays, which JAX may trace and an operation cannot keep, has one for its forward pass.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from types import FunctionType
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.custom_derivatives import zero_from_primal
from jax.extend.core import Primitive as Operation
from jax.interpreters import ad, batching, mlir

from specgrad.bind import Evaluate, Primitive

__all__ = ["JAX", "JaxBinding"]

_NUMBERS = (type(None), bool, int, float, complex, str)


@dataclass(frozen=True)
class JaxBinding(Evaluate):
    """Applies primitives under JAX autodiff."""

    def apply(self, primitive: Primitive, *arrays: Array) -> tuple[Array, ...]:
        operands = _varying_alike(list(map(jax.numpy.asarray, arrays)))
        rule = _Rule(primitive, len(operands))
        return tuple(
            _operation.bind(*operands, rule=rule) if _is_closed(primitive) else _open(rule, *operands)
        )

    def taken(self, array: Array | np.ndarray) -> Array:
        return jax.numpy.asarray(array) if isinstance(array, np.ndarray) else array

    def total(self, term: Callable[..., Array], *stacks: Array) -> Array:
        if not any(map(_is_staged, stacks)):  # a loop of JAX's would be compiled again for each call
            return super().total(term, *stacks)

        def add(found: Array, slices: tuple[Array, ...]) -> tuple[Array, None]:
            return found + term(*slices), None

        # As a loop of JAX's: compilation of one that is written out takes long.
        first, rest = term(*(stack[0] for stack in stacks)), tuple(stack[1:] for stack in stacks)
        return jax.lax.scan(add, first, rest)[0]

    def view(self, array: Array | np.ndarray) -> np.ndarray | None:
        if isinstance(array, np.ndarray):
            return array
        # Under a derivative this uncovers the value; inside `jit` and `vmap` there is none.
        value = jax.numpy.asarray(jax.lax.stop_gradient(array))
        if isinstance(value, jax.core.Tracer) or any(device.platform != "cpu" for device in value.devices()):
            return None
        # As a NumPy array: JAX would compile each check for each new shape.
        return np.asarray(value)


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

        return self.batched(function)(*groups)

    def batched(self, function: Callable[..., list[Array]]) -> Callable[..., list[Array]]:
        """The function, under the `jax.vmap` that there are."""
        for _ in range(self.vmaps):
            function = jax.vmap(function)
        return function


def _is_staged(array: Any) -> bool:
    """Whether operations on an array go into a program, under however many derivatives and `jax.vmap`."""
    while isinstance(array, jax.core.Tracer):
        if hasattr(array, "primal"):
            array = array.primal
        elif hasattr(array, "batch_dim"):
            array = array.val
        else:
            return True
    return False


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


def _moves(array: Any) -> bool:
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
    return [*[None] * (len(arrays) + len(outputs)), *wanted]


def _differentiate(operands: Sequence[Any], rates: Sequence[Any], rule: _Rule) -> tuple[Any, Any]:
    fixed, full_rates = operands[: -rule.arrays], tuple(map(ad.instantiate_zeros, rates))
    if any(not isinstance(rate, ad.Zero) for rate in rates[: len(fixed)]):
        return jax.jvp(partial(_evaluate, rule=rule), tuple(operands), full_rates)
    along = _tangent_map.bind(*fixed, *full_rates[len(fixed) :], rule=rule)
    return _tangent_map.bind(*operands, rule=rule), along


def _with_tangents(arrays: Sequence[Array], tangents: Sequence[Any], rule: _Rule) -> tuple[Any, Any]:
    outputs = _operation.bind(*arrays, rule=rule)
    given = (None if isinstance(tangent, ad.Zero) else tangent for tangent in tangents)
    found = _along(arrays, outputs, given, rule)
    # JAX wants the tangent of integers to have no numbers.
    return outputs, [
        t if _moves(y) else ad.Zero(jax.typeof(y).to_tangent_aval())
        for y, t in zip(outputs, found, strict=True)
    ]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _open(rule: _Rule, *arrays: Array) -> list[Array]:
    return _forward(*arrays, rule=rule)


@_open.defjvp
def _open_with_tangents(rule: _Rule, arrays: Sequence[Array], tangents: Sequence[Array]) -> tuple[Any, Any]:
    outputs = _open(rule, *arrays)
    found = _along(arrays, outputs, tangents, rule)
    return outputs, [t if _moves(y) else zero_from_primal(y) for y, t in zip(outputs, found, strict=True)]


def _along(
    arrays: Sequence[Array], outputs: Sequence[Array], tangents: Iterable[Any], rule: _Rule
) -> list[Array]:
    """The tangents of the outputs from those of the arrays, None for zero; those of integers do not count."""
    given = (t if _moves(a) else None for a, t in zip(arrays, tangents, strict=True))
    found: list[Array] = _tangent_map.bind(*arrays, *outputs, *_with_zeros(given, arrays), rule=rule)
    return found


def _is_closed(part: Any) -> bool:
    """Whether a value, and each function that it holds, is made of numbers and of no array."""
    if isinstance(part, tuple):
        return all(map(_is_closed, part))
    if type(part) in _NUMBERS:  # one of NumPy is equal to one of Python's, and of another dtype in a program
        return True
    if functions := [layer for layer in _layers(part) if isinstance(layer, FunctionType)]:
        return all(map(_holds_numbers, functions))
    is_frozen = is_dataclass(part) and type(part).__hash__ is not None
    return is_frozen and all(_is_closed(getattr(part, each.name)) for each in fields(part))


def _layers(part: object) -> Iterator[object]:
    """A function, and those that it says it wraps, as one that JAX has compiled does."""
    while callable(part):
        yield part
        part = getattr(part, "__wrapped__", None)


def _holds_numbers(function: FunctionType) -> bool:
    """Whether a function is of JAX, or closes over numbers alone."""
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    held += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    # Not by its own `__module__`, which a wrapper takes over.
    is_of_jax = str(function.__globals__["__name__"]).startswith("jax.")
    return is_of_jax or all(isinstance(each, (*_NUMBERS, np.generic)) for each in held)


def _batch(
    operation: Operation, operands: Sequence[Any], axes: Sequence[int | None], rule: _Rule
) -> tuple[Any, Any]:
    pairs = list(zip(operands, axes, strict=True))
    length = next(x.shape[axis] for x, axis in pairs if axis is not None)
    ahead = [batching.bdim_at_front(x, axis, length) for x, axis in pairs]
    found = operation.bind(*ahead, rule=replace(rule, vmaps=rule.vmaps + 1))
    return found, [0] * len(found)


def _forward(*arrays: Array, rule: _Rule) -> list[Array]:
    def function(*arrays: Array) -> list[Array]:
        return list(rule.primitive.forward(*arrays))

    return rule.batched(function)(*arrays)


def _evaluate(*operands: Array, rule: _Rule) -> list[Array]:
    return rule.evaluate(rule.primitive.jvp, 1, *rule.split(operands))


def _types(*arrays: Any, rule: _Rule) -> Any:
    return jax.make_jaxpr(partial(_forward, rule=rule))(*arrays).out_avals


def _registered(name: str, evaluate: Any, types: Any, differentiate: Any) -> Operation:
    operation = Operation(name)
    operation.multiple_results = True
    operation.def_impl(evaluate)
    operation.def_abstract_eval(types)
    ad.primitive_jvps[operation] = differentiate
    batching.primitive_batchers[operation] = partial(_batch, operation)
    mlir.register_lowering(operation, mlir.lower_fun(evaluate, multiple_results=True))
    return operation


_operation = _registered("specgrad", _forward, _types, _with_tangents)
_tangent_map = _registered(
    "specgrad_tangent_map",
    _evaluate,
    lambda *operands, rule: list(map(_tangent_type, rule.split(operands)[1])),
    _differentiate,
)
ad.primitive_transposes[_tangent_map] = _transpose

JAX = JaxBinding()
