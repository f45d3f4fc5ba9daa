"""A solver for the tests: decomposes ``-a``, by whatever solver it is given."""

from dataclasses import dataclass

from array_api_compat import array_namespace

from specgrad import DenseEigh


@dataclass(frozen=True)
class Negated:
    """Solve for ``-a`` and turn the answer around."""

    solver: object = DenseEigh()

    def solve(self, a):
        xp = array_namespace(a)
        values, vectors = self.solver.solve(-a)
        return -xp.flip(values, axis=-1), xp.flip(vectors, axis=-1)
