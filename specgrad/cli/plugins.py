"""Solvers by name: those of this library, and those that installed packages publish.

A package publishes a solver under the entry-point group ``specgrad.solvers``, as a class that can be
called without arguments::

    [project.entry-points."specgrad.solvers"]
    Jacobi = "my_package:Jacobi"
"""

from importlib.metadata import EntryPoint, entry_points

from specgrad.solvers import DenseEigh, DenseSVD, PowerIteration, Refined, Solver

__all__ = ["BUILT_IN_SOLVERS", "available_solvers", "published_solvers", "solver_by_name"]

BUILT_IN_SOLVERS: dict[str, type[Solver]] = {
    solver.__name__: solver for solver in (DenseEigh, DenseSVD, PowerIteration, Refined)
}


def published_solvers() -> dict[str, EntryPoint]:
    """The solvers that installed packages publish, by name."""
    return {point.name: point for point in entry_points(group="specgrad.solvers")}


def available_solvers() -> tuple[str, ...]:
    """The names of all solvers; a built-in one comes before a published one of the same name."""
    return tuple({**BUILT_IN_SOLVERS, **published_solvers()})


def solver_by_name(name: str) -> Solver:
    """The solver of that name, with the defaults of its parameters."""
    if name in BUILT_IN_SOLVERS:
        return BUILT_IN_SOLVERS[name]()
    solver: Solver = published_solvers()[name].load()()
    return solver
