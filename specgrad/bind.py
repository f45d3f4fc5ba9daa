"""How a public function calls a primitive, and how an adapter takes its place.

A public function is validation plus one primitive. It is written against a `Binding`, which says how a
primitive is applied: here, by evaluating it; in an adapter, as an operation of a framework's autodiff;
in `specgrad.transforms`, by evaluating and remembering it. ``function.bound(binding)`` is the same
function on another binding, and that is all that an adapter needs.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from specgrad._namespace import is_readable
from specgrad._typing import Array, Arrays
from specgrad._warn import warn_once

__all__ = ["Binding", "Differentiable", "Evaluate", "Primitive", "Viewer", "differentiable"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


class Viewer(Protocol):
    """A value that knows which arrays can be looked at: none that is on a device or traced."""

    def view(self, array: Array) -> Array | None:
        """The array to look at for its values, perhaps NumPy's, or None where that would not be cheap."""


class Binding(Viewer, Protocol):
    """How primitives are applied to the arrays of one framework."""

    def apply(self, primitive: "Primitive", *arrays: Array) -> Arrays:
        """The outputs of the primitive."""

    def records(self, array: Array) -> bool:
        """Whether a derivative with respect to the array may be taken of what is applied to it."""

    def built(self, build: Callable[..., R], *values: object) -> R:
        """``build(binding, *values)`` of frozen values, or what that gave for equal ones before."""

    def adapted(self, solver: S) -> S:
        """The solver, for the arrays on which this binding evaluates primitives."""

    def inner(self, primitive: "Primitive") -> "Primitive":
        """The primitive, as this binding evaluates one that is part of another."""

    def taken(self, array: Array) -> Array:
        """The array, as one of the framework if it takes those of another library for constants."""

    def total(self, term: Callable[..., Array], *stacks: Array) -> Array:
        """The sum of ``term(*slices)`` over the slices of arrays along their first axes, one at a time."""


class Primitive(Protocol):
    """A frozen value with a forward pass and its derivatives.

    The forward puts out the result first and then, as auxiliary outputs, what the derivative needs, so
    that a derivative sees inputs, outputs and (co)tangents and nothing else. Cotangents of auxiliary
    outputs must be accepted: the second derivative arrives there. A derivative that must itself be
    differentiated by a rule of its own applies another primitive through the binding.

    A primitive may name arrays that its derivatives do not read, by position, as ``unread_inputs`` and
    ``unread_outputs``: they may be None there, and a binding need not keep them. And it may name what of
    ``forward`` and ``vjp`` holds for arrays of any library, as ``portable``: a binding may evaluate that on
    those of another library, where they are faster.
    """

    def forward(self, *arrays: Array) -> Arrays:
        """The outputs."""

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        """One cotangent for each input, from one for each output (None for zero)."""

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        """One tangent for each output (None where it has none, as for an integer)."""


class Differentiable(Protocol[P, R_co]):
    """A public function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def bound(self, binding: Binding) -> "Differentiable[P, R_co]":
        """The same function on another binding."""


class Evaluate:
    """The plain binding: a primitive is its forward pass."""

    def apply(self, primitive: Primitive, *arrays: Array) -> Arrays:
        return primitive.forward(*arrays)

    def records(self, array: Array) -> bool:
        return True

    def built(self, build: Callable[..., R], *values: object) -> R:
        return build(self, *values)

    def adapted(self, solver: S) -> S:
        return solver

    def inner(self, primitive: Primitive) -> Primitive:
        return primitive

    def taken(self, array: Array) -> Array:
        return array

    def total(self, term: Callable[..., Array], *stacks: Array) -> Array:
        found = term(*(stack[0, ...] for stack in stacks))
        for k in range(1, stacks[0].shape[0]):
            found = found + term(*(stack[k, ...] for stack in stacks))
        return found

    def view(self, array: Array) -> Array | None:
        return array if is_readable(array) else None


class _WithoutAdapter(Evaluate):
    """The binding of the public functions, whose results carry no derivative of this library."""

    def records(self, array: Array) -> bool:
        return bool(getattr(array, "requires_grad", False))

    def apply(self, primitive: Primitive, *arrays: Array) -> Arrays:
        outputs = super().apply(primitive, *arrays)
        if any(getattr(output, "requires_grad", False) for output in outputs):
            warn_once(
                "An input requires a gradient, and the functions of specgrad leave that to its library, "
                "whose derivative fails at repeated eigenvalues: call the function of the same name in "
                "specgrad_torch, or detach the input.",
                UserWarning,
            )
        return outputs


def differentiable(definition: Callable[Concatenate[Binding, P], R]) -> Differentiable[P, R]:
    """Turn a definition, whose first parameter is the binding, into a public function."""
    _, *parameters = signature(definition).parameters.values()

    def bound(binding: Binding) -> Differentiable[P, R]:
        @wraps(definition)
        def function(*args: P.args, **kwargs: P.kwargs) -> R:
            return definition(binding, *args, **kwargs)

        function.__signature__ = signature(definition).replace(parameters=parameters)  # type: ignore[attr-defined]
        function.bound = bound  # type: ignore[attr-defined]
        adapter = type(binding).__module__.partition(".")[0]
        if adapter != __name__.partition(".")[0]:
            function.__module__ = adapter  # where pickle finds it again
        return cast(Differentiable[P, R], function)

    return bound(_WithoutAdapter())
