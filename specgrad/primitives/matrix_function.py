"""A function of a Hermitian matrix as a primitive, and its Frechet derivative as another."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

from specgrad._array import adjoint, as_row, hermitian_part, rounding_of
from specgrad._namespace import namespace
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding
from specgrad.derivatives import eigh
from specgrad.derivatives.matrix_function import frechet, second_derivative
from specgrad.domains import Domain, answer_of, domain_of
from specgrad.functions import MatrixFunction
from specgrad.gaps import GapRule, MaskedGap
from specgrad.gradients import (
    DaleckiiKrein,
    Decomposition,
    GradientRule,
    ThroughEigenvectors,
    ThroughSolver,
)
from specgrad.leading import by_magnitude, kept_or_leading, leading
from specgrad.portable import portable_methods
from specgrad.primitives.eigh import rank_by, vjp_of_rule
from specgrad.solvers import Solver, decompose
from specgrad.truncation import Truncation

__all__ = ["ApplyFunction", "Frechet"]


@dataclass(frozen=True)
class ApplyFunction:
    """``A -> (f(A), l, V)``, or with a truncation ``A -> (f(A), rank, l, V)``, dominant ``l`` first.

    Parameters
    ----------
    function : MatrixFunction
    solver : Solver
    gradient : GradientRule
    truncation : Truncation or None
    semidefinite : bool
        Whether ``A`` is known to be positive semi-definite, which spares a sort by magnitude.
    """

    function: MatrixFunction
    solver: Solver
    gradient: GradientRule
    truncation: Truncation | None
    semidefinite: bool

    # So that the result need not be kept, and may be modified in place.
    unread_outputs: ClassVar[tuple[int, ...]] = (0,)

    @cached_property
    def portable(self) -> tuple[str, ...]:
        # A solver's own derivative runs through its steps again, and must meet the same rounding.
        if isinstance(self.gradient, ThroughSolver):
            return ()
        return portable_methods(self.function, self.gradient, self.truncation)

    def forward(self, a: Array) -> Arrays:
        values, vectors = decompose(self.solver, a)
        xp = namespace(values)
        if self.truncation is not None and self.semidefinite:
            values, vectors = xp.flip(values, axis=-1), xp.flip(vectors, axis=-1)
        elif self.truncation is not None:
            values, vectors = by_magnitude(values, vectors)
        domain = domain_of(self.function)
        values, rounding = _settled(domain, values)
        if self.truncation is None:
            image = answer_of(self.function, _in_domain(domain, values, rounding))
            return (vectors * as_row(image)) @ adjoint(vectors), values, vectors
        rank = rank_by(self.truncation, a, values, vectors)
        kept = leading(rank, values.shape[-1])
        arguments = _in_domain(domain, kept_or_leading(values, kept), rounding)
        image = xp.where(kept, answer_of(self.function, arguments), 0.0)
        return (vectors * as_row(image)) @ adjoint(vectors), rank, values, vectors

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (g_image, *_, g_values, g_vectors), (*_, values, vectors) = cotangents, outputs
        if 0 in arrays[0].shape:
            return (namespace(values).zeros_like(arrays[0]),)
        total = None
        if g_image is not None:
            if isinstance(self.gradient, DaleckiiKrein):
                total = self._frechet(binding, arrays[0], outputs, g_image)
            else:
                total = self.gradient.vjp(self.function, self._decomposition(arrays[0], outputs), g_image)
        if g_values is not None or g_vectors is not None:
            if isinstance(self.gradient, ThroughSolver):
                through_outputs = self.gradient.solver.vjp(arrays[0], (g_values, g_vectors))
            else:
                through_outputs = vjp_of_rule(self._gap, binding, values, vectors, g_values, g_vectors)
            total = through_outputs if total is None else total + through_outputs
        return (total,)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        *_, values, vectors = outputs
        no_tangent = () if self.truncation is None else (None,)
        if 0 in arrays[0].shape:
            zero, *zeros = map(namespace(values).zeros_like, (arrays[0], values, vectors))
            return zero, *no_tangent, *zeros
        if isinstance(self.gradient, DaleckiiKrein):
            image = self._frechet(binding, arrays[0], outputs, tangents[0])
        else:
            image = self.gradient.jvp(self.function, self._decomposition(arrays[0], outputs), tangents[0])
        if isinstance(self.gradient, ThroughSolver):
            return image, *self.gradient.solver.jvp(arrays[0], tangents[0])
        return image, *no_tangent, *eigh.jvp(values, vectors, tangents[0], self._gap)

    @property
    def _gap(self) -> GapRule:
        """The rule for what reaches the decomposition itself, as a second derivative does."""
        return self.gradient.gap if isinstance(self.gradient, ThroughEigenvectors) else MaskedGap()

    def _frechet(self, binding: Binding, a: Array, outputs: Arrays, direction: Array) -> Array:
        operation = Frechet(function=self.function, rule=cast(DaleckiiKrein, self.gradient))
        *rank, values, vectors = outputs[1:]
        if rank and _is_full(binding.view(rank[0]), values.shape[-1]):
            rank = []  # nothing is dropped, so nothing needs a mask
        return binding.apply(operation, a, *rank, values, vectors, direction)[0]

    def _decomposition(self, a: Array, outputs: Arrays) -> Decomposition:
        *_, values, vectors = outputs
        kept = None if self.truncation is None else leading(outputs[1], values.shape[-1])
        return Decomposition(hermitian_part(a), values, vectors, kept)


@dataclass(frozen=True)
class Frechet:
    """``(A, [rank,] l, V, E) -> L_f(A, E)``: linear and self-adjoint in ``E``.

    A primitive of its own because differentiating the sandwich through ``(l, V)`` would be wrong at
    ties. It is differentiated in ``A`` and ``E``; the decomposition only spares a second one.

    Parameters
    ----------
    function : MatrixFunction
    rule : DaleckiiKrein
    """

    function: MatrixFunction
    rule: DaleckiiKrein

    def forward(self, a: Array, *rest: Array) -> Arrays:
        kept, values, vectors, direction = _unpack(rest)
        return (frechet(vectors, self.rule.pair_matrix(self.function, values, kept), direction),)

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (cotangent,) = cotangents
        if cotangent is None:
            return (None,) * len(arrays)
        g_a = self._second(binding, arrays, cotangent)
        (g_direction,) = binding.apply(self, *arrays[:-1], cotangent)
        return (g_a, *(None,) * (len(arrays) - 2), g_direction)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        (along_direction,) = binding.apply(self, *arrays[:-1], tangents[-1])
        return (self._second(binding, arrays, tangents[0]) + along_direction,)

    def _second(self, binding: Binding, arrays: Arrays, direction: Array) -> Array:
        kept, values, vectors, first = _unpack(arrays[1:])
        cut = None
        if kept is not None:
            pairs = self.rule.pair_matrix(self.function, values, kept)
            half = 0.5 * self.rule.cut.matrix(values)
            cut = (kept, pairs, half - half.mT)
        return second_derivative(binding, self.function, values, vectors, cut, first, direction)


def _unpack(rest: Arrays) -> tuple[Array | None, Array, Array, Array]:
    """``([rank,] l, V, E)`` as the mask of what is kept, or None, and the other three."""
    *rank, values, vectors, direction = rest
    return (leading(rank[0], values.shape[-1]) if rank else None), values, vectors, direction


def _is_full(rank: Array | None, size: int) -> bool:
    """Whether it can be seen that every matrix of the batch keeps all its eigenvalues."""
    return rank is not None and bool(namespace(rank).all(rank == size))


def _settled(domain: Domain | None, values: Array) -> tuple[Array, Array | float]:
    """The eigenvalues, those at the start of the domain to rounding moved there if it belongs to it.

    And the rounding, of which the others count as outside.
    """
    if domain is None or values.shape[-1] == 0:
        return values, 0.0
    rounding = rounding_of(values)
    return domain.settled(values, rounding), rounding


def _in_domain(domain: Domain | None, values: Array, rounding: Array | float) -> Array:
    """What the function is asked for: NaN outside its domain, where libraries differ."""
    if domain is None or values.shape[-1] == 0:
        return values
    return namespace(values).where(domain.outside(values, rounding), float("nan"), values)
