"""A function of specgrad with another solver as its default."""

from functools import wraps
from inspect import signature
from typing import Any

from specgrad.bind import Binding, Differentiable
from specgrad.solvers import Solver

__all__ = ["with_default_solver"]


def with_default_solver(function: Differentiable[..., Any], solver: Solver) -> Differentiable[..., Any]:
    """The same function, differentiable as it was, that takes `solver` where the caller names none."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return function(*args, **{"solver": solver, **options})

    def bound(binding: Binding) -> Differentiable[..., Any]:
        return with_default_solver(function.bound(binding), solver)

    of_function = signature(function)
    parameters = [
        parameter.replace(default=solver) if name == "solver" else parameter
        for name, parameter in of_function.parameters.items()
    ]
    call.__signature__ = of_function.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__module__ = __name__.partition(".")[0]  # where pickle finds it
    call.bound = bound  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]
