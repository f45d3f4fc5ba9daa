"""cuSOLVER's eigensolvers on CuPy's current stream and pool, with their status kept on the device.

A status that the host looked at would make it wait for the device. So a matrix that has not converged gets
NaN eigenvalues instead, which `specgrad.Fallback` takes up for that matrix alone.
"""

from dataclasses import dataclass
from typing import Any

from specgrad._require import require_at_least, require_whole
from specgrad_cupy._require import cublas, cupy
from specgrad_cupy._require import cusolver as library

__all__ = ["Syevd", "SyevjBatched"]

# Entries and matrices of one call: cuSOLVER counts by 32-bit integers, in its workspace too, which is about a
# thousand entries for each matrix however small.
_ENTRIES = 2**28
_MATRICES = 2**17
_LETTERS = {"f": ("s", "sy"), "d": ("d", "sy"), "F": ("c", "he"), "D": ("z", "he")}


@dataclass(frozen=True)
class SyevjBatched:
    """Decompose a batch at once by cuSOLVER's Jacobi rotations.

    Parameters
    ----------
    tolerance : float, optional
        Stop where off-diagonal entries are below this share of the norm; by default the library's, which is
        the precision of the dtype.
    sweeps : int, default 100
        Give up after so many passes over all pairs.

    Raises
    ------
    TypeError, ValueError
        For a tolerance that is no number of at least 0, and sweeps that are no integer of at least 1.

    Notes
    -----
    Batches beyond the 32-bit limits of cuSOLVER are taken in parts.
    """

    tolerance: float | None = None
    sweeps: int = 100

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")
        require_whole(1, self, "sweeps")

    def solve(self, a: Any) -> tuple[Any, Any]:
        """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n)."""
        n = a.shape[-1]
        if a.size == 0:
            return cupy.empty(a.shape[:-1], dtype=a.dtype.char.lower()), cupy.empty_like(a)
        # cuSOLVER has columns first; the transpose of a Hermitian matrix is its conjugate.
        columns = cupy.array(cupy.conj(a.reshape(-1, n, n)), order="C", copy=True)
        # Sums of squares leave the exponent range near its ends; scaling by a power of two is exact, and that
        # power must be a normal number, as devices take subnormal ones for 0.
        _, exponent = cupy.frexp(cupy.abs(columns).max(axis=(-2, -1)))
        least = int(cupy.finfo(a.dtype).minexp)
        exponent = cupy.clip(exponent, least, -least)
        unit = cupy.ldexp(cupy.ones(len(columns), dtype=a.dtype.char.lower()), -exponent)
        columns *= unit[:, None, None]
        values = cupy.empty(columns.shape[:-1], dtype=unit.dtype)
        status = cupy.empty(len(columns), dtype=cupy.int32)
        most = max(1, min(_ENTRIES // (n * n), _MATRICES))
        for start in range(0, len(columns), most):
            part = slice(start, start + most)
            self._decompose(columns[part], values[part], status[part])
        values = cupy.where((status == 0)[:, None], values / unit[:, None], values.dtype.type(cupy.nan))
        vectors = cupy.ascontiguousarray(columns.swapaxes(-1, -2))
        return values.reshape(a.shape[:-1]), vectors.reshape(a.shape)

    def _decompose(self, columns: Any, values: Any, status: Any) -> None:
        """Write the eigenvectors over the matrices."""
        letter, kind = _LETTERS[columns.dtype.char]
        routine = getattr(library, f"{letter}{kind}evjBatched")
        workspace_size = getattr(library, f"{letter}{kind}evjBatched_bufferSize")
        handle = cupy.cuda.Device().cusolver_handle
        n, count = columns.shape[-1], len(columns)
        shape = (
            handle,
            library.CUSOLVER_EIG_MODE_VECTOR,
            cublas.CUBLAS_FILL_MODE_LOWER,
            n,
            columns.data.ptr,
            n,
            values.data.ptr,
        )
        settings = library.createSyevjInfo()
        try:
            if self.tolerance is not None:
                library.xsyevjSetTolerance(settings, self.tolerance)
            library.xsyevjSetMaxSweeps(settings, self.sweeps)
            library.xsyevjSetSortEig(settings, 1)
            size = workspace_size(*shape, settings, count)
            workspace = cupy.empty(size, dtype=columns.dtype)
            routine(*shape, workspace.data.ptr, size, status.data.ptr, settings, count)
        finally:
            library.destroySyevjInfo(settings)


@dataclass(frozen=True)
class Syevd:
    """Decompose one matrix after the other by cuSOLVER's divide and conquer: for large ones.

    Its status is read where ``cupyx.errstate(linalg="raise")`` asks for that, at the price of waiting.
    """

    def solve(self, a: Any) -> tuple[Any, Any]:
        """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n)."""
        n = a.shape[-1]
        values = cupy.empty(a.shape[:-1], dtype=a.dtype.char.lower())
        vectors = cupy.empty_like(a, order="C")
        if a.size == 0:
            return values, vectors
        matrices = a.reshape(-1, n, n)
        rows, columns = values.reshape(-1, n), vectors.reshape(-1, n, n)
        for k in range(len(matrices)):
            rows[k], columns[k] = cupy.linalg.eigh(matrices[k])
        return values, vectors
