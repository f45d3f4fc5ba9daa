"""How a function of Hermitian matrices is computed and differentiated, as one value."""

from dataclasses import dataclass
from typing import TypeAlias, cast

from specgrad._require import require_method
from specgrad._typing import Arrays
from specgrad._warn import warn_once
from specgrad.bind import Binding, Primitive
from specgrad.derivatives.newton_schulz import residual
from specgrad.domains import domain_of
from specgrad.functions import InverseSqrt, MatrixFunction, Power, Sqrt
from specgrad.gauge import GaugeWarning
from specgrad.gradients import DaleckiiKrein, GradientRule, NewtonSchulzGradient, ThroughSolver
from specgrad.objections import cuts_a_tie
from specgrad.primitives import ApplyFunction, SquareRoot
from specgrad.solvers import (
    RootSolver,
    Solver,
    has_own_derivative,
    is_root_solver,
    prepare,
    require_complete,
)
from specgrad.truncation import Truncation
from specgrad.validation import require_domain, require_semidefinite

__all__ = ["Choices", "Method", "knows_truncation"]

Choices: TypeAlias = tuple[MatrixFunction, Solver | RootSolver, GradientRule | None, Truncation | None]
"""What a `Method` is made of, before it is checked: by these a binding finds one that it has built."""


@dataclass(frozen=True)
class Method:
    """A function of eigenvalues, the solver that finds them, a gradient rule, and which of them to keep.

    Each system of the papers, such as iSQRT-COV, is one.

    Parameters
    ----------
    function : MatrixFunction
    solver : Solver or RootSolver
    gradient : GradientRule or None
        None: the solver's own, or the exact one.
    truncation : Truncation or None

    Raises
    ------
    TypeError, ValueError
        For values that cannot do what is asked of them, or do not go together.
    """

    function: MatrixFunction
    solver: Solver | RootSolver
    gradient: GradientRule | None
    truncation: Truncation | None

    def __post_init__(self) -> None:
        example = "Log() or FromDerivative(f, derivative)"
        require_method(self.function, "divided_difference", "function", example)
        if self.truncation is not None:
            require_method(self.truncation, "keep", "truncation", "MaxRank(4)")
        require_complete(self.solver)
        if not is_root_solver(self.solver):
            require_method(self.solver, "solve", "solver", "DenseEigh()")
            for method in ("vjp", "jvp"):
                require_method(self._rule(), method, "gradient", "DaleckiiKrein()")
        self._require_root()
        self._require_partners()

    def primitive(self, exactly_hermitian: bool | None, binding: Binding) -> Primitive:
        """``A -> (f(A), ...)`` for input that was seen to be Hermitian or not; see `prepare`."""
        return self._primitive(exactly_hermitian, binding, semidefinite=False)

    def of_covariance(self, binding: Binding) -> Primitive:
        """``C -> (f(C), ...)`` for a covariance that nobody has looked at, which one bad sample may spoil."""
        return binding.inner(self._primitive(None, binding, semidefinite=True))

    def report(
        self,
        binding: Binding,
        outputs: Arrays,
        check_finite: bool,
        groups: int | None = None,
        diagonal: str = "the diagonal",
        but_at_zero: bool = False,
        precision: float | None = None,
    ) -> None:
        """Raise or warn about what the primitive put out, where it can be looked at.

        An iteration's residual has a policy of its own, and is judged in any case. Zeros need not count as
        equal eigenvalues: of a covariance, where the data have no part in their eigenvectors, and of a
        function that is flat at 0. `groups` and `diagonal` are as in `require_domain`. What the caller calls
        a covariance, and gives in some `precision`, must be one.
        """
        if check_finite and precision is not None and not is_root_solver(self.solver):
            seen = binding.view(outputs[1 if self.truncation is None else 2])
            if seen is not None:
                require_semidefinite(seen, precision)
        if check_finite or is_root_solver(self.solver):
            self._judge(binding, outputs, groups, diagonal)
        if check_finite and self.truncation is not None:
            self._warn_of_cut(binding, outputs, self.truncation, but_at_zero)

    def _judge(self, binding: Binding, outputs: Arrays, groups: int | None, diagonal: str) -> None:
        """The residual, or the eigenvalues."""
        if is_root_solver(self.solver):
            root, inverse = (binding.view(output) for output in outputs)
            if root is not None and inverse is not None:
                self.solver.residual.judge(residual(root, inverse), self.solver)
            return
        domain = domain_of(self.function)
        if domain is not None and (values := binding.view(outputs[-2])) is not None:
            rank = None if self.truncation is None else binding.view(outputs[1])
            require_domain(values, rank, self.function, domain, groups, diagonal)

    def _warn_of_cut(
        self, binding: Binding, outputs: Arrays, truncation: Truncation, but_at_zero: bool
    ) -> None:
        """Warn where some of several equal eigenvalues are seen to be kept: which of them is arbitrary."""
        rank, values = (binding.view(output) for output in outputs[1:3])
        if rank is None or values is None or 0 in values.shape:
            return
        is_flat = isinstance(self.function, Power) and self.function.exponent > 1
        if cuts_a_tie(values, rank, but_at_zero or is_flat):
            warn_once(
                f"{truncation} keeps some of several eigenvalues of equal magnitude and drops others: "
                "which of them is arbitrary, and so is their part in the result and its gradient. Keep all "
                "or none of them, such as by a MaxRank that ends where the eigenvalues have a gap.",
                GaugeWarning,
            )

    def _primitive(self, exactly_hermitian: bool | None, binding: Binding, semidefinite: bool) -> Primitive:
        if is_root_solver(self.solver):
            return SquareRoot(solver=self.solver, inverse_first=isinstance(self.function, InverseSqrt))
        return ApplyFunction(
            function=self.function,
            solver=prepare(cast(Solver, self.solver), exactly_hermitian, binding),
            gradient=self._rule(),
            truncation=self.truncation,
            semidefinite=semidefinite,
        )

    def _rule(self) -> GradientRule:
        """The gradient rule that was given, or the solver's own."""
        if self.gradient is not None:
            return self.gradient
        solver = cast(Solver, self.solver)
        return ThroughSolver(solver) if has_own_derivative(solver) else _EXACT

    @property
    def _is_of_root(self) -> bool:
        return isinstance(self.function, Sqrt | InverseSqrt)

    def _require_root(self) -> None:
        """Raise if a solver of roots is asked for more."""
        if not is_root_solver(self.solver):
            return
        if not self._is_of_root or self.gradient is not None or self.truncation is not None:
            raise ValueError(
                f"{self.solver} computes square roots and inverse square roots by products and "
                f"differentiates its own steps; it was given {self.function}, gradient={self.gradient} and "
                f"truncation={self.truncation}. Pass gradient=None and truncation=None, or "
                "solver=DenseEigh() for other functions and choices."
            )

    def _require_partners(self) -> None:
        """Raise for a gradient rule that does not go with the function or a truncation."""
        if isinstance(self.gradient, NewtonSchulzGradient) and not self._is_of_root:
            raise ValueError(
                f"{self.gradient} differentiates square roots and inverse square roots, and was given "
                f"{self.function}. Use gradient=DaleckiiKrein()."
            )
        if self.truncation is not None and not knows_truncation(self.solver, self.gradient):
            rule = self.solver if self.gradient is None else self.gradient
            raise ValueError(
                f"{rule} differentiates its own steps, which know no truncation, and was given "
                f"{self.truncation}. Use solver=DenseEigh() with gradient=DaleckiiKrein(), or "
                "truncation=None."
            )


# Made here once: torch.compile can use a frozen value, but not always construct one.
_EXACT = DaleckiiKrein()


def knows_truncation(solver: Solver | RootSolver, gradient: GradientRule | None) -> bool:
    """Whether the derivative is that of eigenvalues, which can be dropped, not of a solver's own steps."""
    if is_root_solver(solver):
        return False
    if gradient is None:
        return not has_own_derivative(cast(Solver, solver))
    return not isinstance(gradient, NewtonSchulzGradient | ThroughSolver)
