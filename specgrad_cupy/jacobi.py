"""Many small matrices, a thread for each of the smallest and 32 threads for each of the others."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from specgrad._require import require_whole
from specgrad_cupy._require import cupy
from specgrad_cupy.jacobi_source import JACOBI_KERNEL

__all__ = ["Jacobi"]

_LARGEST = 32
# Up to here a matrix and its eigenvectors fit the registers of a thread, as the compiler reports.
_LARGEST_OF_ONE_THREAD = 4
_LANES = 32  # of a warp, whose threads need no more than a barrier among themselves
_TYPES = {"f": ("float", "float"), "d": ("double", "double")}
_TYPES |= {"F": ("Complex<float>", "float"), "D": ("Complex<double>", "double")}


@dataclass(frozen=True)
class Jacobi:
    """Decompose many matrices of at most 32 x 32 by Jacobi rotations, in one kernel without a host copy.

    Up to 4 x 4 a matrix stays in the registers of one thread. Beyond, a warp holds it in shared memory, and
    rotates all the disjoint pairs of a round at once.

    A pair of columns is rotated until its entry is small against both diagonal entries, so that small
    eigenvalues of graded positive matrices keep their digits, which a reduction to tridiagonal form loses,
    and tied eigenvalues come out orthogonal.

    Parameters
    ----------
    sweeps : int, default 30
        After so many passes over all pairs a matrix that has not converged gets NaN; 5 to 9 are usual, and
        graded ones of 32 x 32 take up to 16.

    Raises
    ------
    TypeError, ValueError
        For sweeps that are no integer of at least 1; for larger matrices.

    References
    ----------
    Demmel and Veselic, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal. Appl. 13 (1992).
    """

    sweeps: int = 30

    def __post_init__(self) -> None:
        require_whole(1, self, "sweeps")

    def solve(self, a: Any) -> tuple[Any, Any]:
        """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n)."""
        n = a.shape[-1]
        if n > _LARGEST:
            raise ValueError(
                f"Jacobi decomposes matrices up to {_LARGEST} x {_LARGEST}, and was given {n} x {n}: use "
                "SyevjBatched() for larger ones."
            )
        a = cupy.ascontiguousarray(a)
        values = cupy.empty(a.shape[:-1], dtype=a.dtype.char.lower())
        vectors = cupy.empty_like(a)
        count = a.size // (n * n) if n else 0
        if count == 0:
            return values, vectors
        converged = cupy.empty(a.shape[:-2], dtype=bool)
        real = values.dtype.type
        lanes = 1 if n <= _LARGEST_OF_ONE_THREAD else _LANES
        threads = _LANES  # one matrix in a block, or one in each thread
        _kernel(n, lanes, a.dtype.char)(
            ((count * lanes + threads - 1) // threads,),
            (threads,),
            (
                a,
                values,
                vectors,
                converged,
                cupy.int64(count),
                cupy.int32(self.sweeps),
                real(cupy.finfo(real).eps),
                real(cupy.finfo(real).smallest_normal),
            ),
        )
        return cupy.where(converged[..., None], values, real(cupy.nan)), vectors


@cache
def _kernel(n: int, lanes: int, char: str) -> Any:
    entry, real = _TYPES[char]
    name = f"jacobi_kernel<{n}, {lanes}, {entry}, {real}>"
    module = cupy.RawModule(code=JACOBI_KERNEL, options=("--std=c++17",), name_expressions=(name,))
    return module.get_function(name)
