"""What the tests of refinement share."""

from dataclasses import dataclass

import numpy as np

from specgrad.testing import Spectrum

# Nearly all matrices here are of one size: JAX compiles every operation for each shape anew.
N = 6
# What is left between clusters after so many steps, as a power of eps of the norm.
COUPLING = {1: 4 / 3, 2: 2}
SEPARATED = Spectrum("separated", lambda n, _, generator: np.linspace(1, 2, n))


def solved(solver, backend, matrix):
    return [backend.numpy(x) for x in solver.solve(backend.array(matrix))]


def orthonormality(vectors):
    return np.max(np.abs(vectors.conj().T @ vectors - np.eye(vectors.shape[-1])))


@dataclass(frozen=True, eq=False)
class Spoiled:
    """NumPy's solver with its eigenvectors times a matrix and its eigenvalues times a number.

    With `only`, for that matrix alone: the blocks that a step asks for are then decomposed well.
    """

    of_vectors: np.ndarray
    of_values: float = 1.0
    only: np.ndarray | None = None

    def solve(self, a):
        values, vectors = np.linalg.eigh(a)
        if self.only is None or np.array_equal(a, self.only):
            return values * self.of_values, vectors @ self.of_vectors
        return values, vectors


def turn(angle):
    """An orthogonal matrix of shape (N, N), up to rounding: Cayley's transform of a random one."""
    skew = np.triu(np.random.default_rng(3).standard_normal((N, N)), 1)
    skew = angle * (skew - skew.T)
    return np.linalg.solve(np.eye(N) - skew / 2, np.eye(N) + skew / 2)
