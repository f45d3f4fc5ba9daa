"""CuPy's solvers for the arrays of other libraries on the same device, without a copy."""

from dataclasses import dataclass
from typing import Any

from specgrad._namespace import namespace
from specgrad.solvers import Solver, without_looking
from specgrad_cupy._require import cupy
from specgrad_cupy.auto import AutoSolver

__all__ = ["ThroughDLPack"]

_AUTO = AutoSolver()


@dataclass(frozen=True)
class ThroughDLPack:
    """A solver of this package for the CUDA arrays of another library, as PyTorch's tensors.

    For `specgrad_torch` on CUDA. The exchange orders the two libraries' streams on the device; the host does
    not wait. Work on a side stream of PyTorch needs it as CuPy's current one,
    ``cupy.cuda.ExternalStream(stream.cuda_stream)``, as CuPy's pool takes memory back in the order of its own
    stream. Not inside `torch.vmap` and `torch.compile`, where tensors have no memory to share.

    Parameters
    ----------
    solver : Solver, default AutoSolver()

    Raises
    ------
    TypeError
        For an array whose memory CuPy cannot use.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> import specgrad_torch  # doctest: +SKIP
    >>> a = torch.eye(100, device="cuda").expand(500, 100, 100)  # doctest: +SKIP
    >>> specgrad_torch.eigh(a, solver=ThroughDLPack())  # doctest: +SKIP
    """

    solver: Solver = _AUTO

    def without_looking(self) -> Solver:
        """The same with a solver that looks at no value."""
        return ThroughDLPack(without_looking(self.solver))

    def solve(self, a: Any) -> tuple[Any, Any]:
        """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n)."""
        # Libraries do not export what carries gradients; the derivative is not taken through here.
        # Nor what is only marked as conjugated.
        given = a.detach().resolve_conj() if hasattr(a, "detach") else a
        try:
            shared = cupy.from_dlpack(given)
        except Exception as error:  # of a type that depends on the library
            raise TypeError(
                f"CuPy cannot use the memory of a {type(a).__module__}.{type(a).__name__} of shape "
                f"{tuple(a.shape)} ({error}), and an array on a CUDA device is needed, outside of vmap and "
                "compile, where arrays have no memory: pass solver=DenseEigh() there."
            ) from error
        with shared.device:
            results = self.solver.solve(shared)
            # A negative or zero stride cannot be imported everywhere.
            return tuple(namespace(a).from_dlpack(cupy.ascontiguousarray(x)) for x in results)
