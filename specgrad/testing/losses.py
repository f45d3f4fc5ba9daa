"""Losses of the outputs of this library's functions, as frozen values with their own cotangents."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from specgrad._array import column_products, real_part
from specgrad._namespace import is_floating, namespace
from specgrad._typing import Array
from specgrad.testing._arrays import numpy_dtype, random_like
from specgrad.testing.matrices import Matrix, random_hermitian

__all__ = ["ClusterLoss", "LinearLoss", "Loss"]


class Loss(Protocol):
    """A real function of the output of a function, and its derivative in that output."""

    def value(self, output: Any, /) -> Array:
        """The loss, an array of shape ()."""

    def cotangents(self, output: Any, /) -> Any:
        """What the pullback of the function takes."""


@dataclass(frozen=True)
class ClusterLoss:
    r"""``sum_c Re tr(W_c P_c)`` over projectors ``P_c = V_c V_c^H`` on clusters of eigenvectors.

    It does not depend on the phases of eigenvectors, nor on the basis inside a cluster. Clusters of one
    make a loss of single eigenvectors.

    Parameters
    ----------
    clusters : tuple of tuples of int
        Columns of the eigenvectors, disjoint, none negative.
    seed : int, default 0
        Of the random Hermitian weights ``W_c``, which all matrices of a batch share.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import eigh
    >>> from specgrad.testing import ClusterLoss
    >>> loss = ClusterLoss(clusters=((1, 2),))
    >>> output = eigh(np.diag([1.0, 2.0, 2.0]))
    >>> bool(np.isclose(loss.value(output), np.trace(loss.weight(0, 3, "float64")[1:, 1:])))
    True
    """

    clusters: tuple[tuple[int, ...], ...]
    seed: int = 0

    def weight(self, cluster: int, n: int, dtype: Any) -> Matrix:
        """``W_c`` of shape (n, n), drawn in double precision and rounded to `dtype`."""
        return random_hermitian(n, dtype, np.random.default_rng([self.seed, cluster]))

    def value(self, output: Any) -> Array:
        vectors = output.eigenvectors
        xp = namespace(vectors)
        return 0.5 * xp.sum(column_products(vectors, self._gradient(vectors)))

    def cotangents(self, output: Any) -> Any:
        return type(output)(*(self._gradient(x) if x is output.eigenvectors else None for x in output))

    def _gradient(self, vectors: Array) -> Array:
        xp = namespace(vectors)
        count = vectors.shape[-1]
        if count and not all(0 <= column < count for cluster in self.clusters for column in cluster):
            raise ValueError(
                f"{self} names a column that is none of the {count} eigenvectors, counted from 0."
            )
        total = xp.zeros_like(vectors)
        position = xp.arange(count, device=vectors.device)
        dtype = numpy_dtype(vectors)
        for index, cluster in enumerate(self.clusters):
            numbers = self.weight(index, vectors.shape[-2], dtype)
            weight = xp.asarray(numbers, dtype=vectors.dtype, device=vectors.device)
            inside = position < 0
            for column in cluster:
                inside = inside | (position == column)
            total = total + xp.where(inside, xp.matmul(weight, vectors), 0.0)
        return 2.0 * total


@dataclass(frozen=True)
class LinearLoss:
    """The inner product of every floating output with a random array, for outputs without a gauge.

    Parameters
    ----------
    seed : int, default 0

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import LinearLoss
    >>> LinearLoss(seed=1).cotangents(np.ones(2)).shape
    (2,)
    """

    seed: int = 0

    def value(self, output: Any) -> Array:
        outputs = output if isinstance(output, tuple) else (output,)
        given = self.cotangents(output)
        total: Any = 0.0
        for x, g in zip(outputs, given if isinstance(output, tuple) else (given,), strict=True):
            if g is not None:
                xp = namespace(x)
                total = total + real_part(xp.sum(xp.conj(g) * x if x.dtype == g.dtype else g * x))
        return total

    def cotangents(self, output: Any) -> Any:
        generator = np.random.default_rng(self.seed)
        if not isinstance(output, tuple):
            return random_like(output, generator)
        given = [random_like(x, generator) if is_floating(x) else None for x in output]
        named: Any = type(output)
        return named(*given) if hasattr(output, "_fields") else named(given)
