r"""Power iteration with deflation: Algorithm 1 of Wang et al. (NeurIPS 2019) and its derivatives.

For ``i = 1 .. n``, from a given start and ``A_1 = A``:

    ``w_k = A_i v_{k-1},  r_k = ||w_k||,  v_k = w_k / r_k``     (k = 1 .. K)
    ``l_i = v_i^H A_i v_i``                                     (``v_i = v_K``)
    ``A_{i+1} = A_i - A_i v_i v_i^H``

The vjp is this program run backwards, one line for each line above. Started at the eigenvectors it
equals the sandwich with `PowerIterationGap`; it is kept as the published baseline, and as the
independent reference for that closed form. K matrix products per eigenvector.
"""

from typing import NamedTuple

from specgrad._array import adjoint, column_products, hermitian_part, real_part
from specgrad._namespace import namespace
from specgrad._typing import Array

__all__ = ["forward", "jvp", "vjp"]


class _Iterates(NamedTuple):
    deflated: Array  # A_i, (..., n, n)
    vectors: list[Array]  # v_0 .. v_K, each (..., n, 1)
    norms: list[Array]  # r_1 .. r_K, each (..., 1, 1)


def forward(a: Array, starts: Array, steps: int) -> tuple[Array, Array]:
    """Eigenvalues (..., n) and eigenvectors (..., n, n), in the order they are found.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian.
    starts : array, shape (..., n, n)
        Column ``i`` starts the iteration for eigenvector ``i``.
    steps : int
        ``K``, at least 1.
    """
    xp = namespace(a)
    if a.shape[-1] == 0:
        return real_part(xp.sum(a, axis=-1)), a
    iterates = _iterate(a, starts, steps)
    values = [_rayleigh_quotient(each.deflated, each.vectors[-1]) for each in iterates]
    return _side_by_side(values)[..., 0, :], _side_by_side([each.vectors[-1] for each in iterates])


def vjp(a: Array, starts: Array, steps: int, values_cotangent: Array, vectors_cotangent: Array) -> Array:
    """The cotangent of `a`, from cotangents in the order of `forward`; complex: ``dL = Re <g, dA>``."""
    iterates = _iterate(a, starts, steps)
    g_deflated = namespace(a).zeros_like(a)
    for i in reversed(range(len(iterates))):
        a_i, vectors, norms = iterates[i]
        v = vectors[-1]
        g_value = values_cotangent[..., i][..., None, None]
        # A_{i+1} = A_i - A_i v v^H
        g_v = (
            vectors_cotangent[..., :, i : i + 1]
            - adjoint(a_i) @ (g_deflated @ v)
            - adjoint(g_deflated) @ (a_i @ v)
        )
        g_a = g_deflated - (g_deflated @ v) @ adjoint(v)
        # l_i = v^H A_i v
        g_v = g_v + g_value * (a_i @ v + adjoint(a_i) @ v)
        g_a = g_a + g_value * (v @ adjoint(v))
        # v_k = w_k / r_k, w_k = A_i v_{k-1}
        for k in reversed(range(steps)):
            g_w = (g_v - vectors[k + 1] * real_part(adjoint(vectors[k + 1]) @ g_v)) / norms[k]
            g_a = g_a + g_w @ adjoint(vectors[k])
            g_v = adjoint(a_i) @ g_w
        g_deflated = g_a
    return hermitian_part(g_deflated)


def jvp(a: Array, starts: Array, steps: int, tangent: Array) -> tuple[Array, Array]:
    """The tangents of the outputs of `forward`."""
    xp = namespace(a)
    if a.shape[-1] == 0:
        return real_part(xp.sum(tangent, axis=-1)), tangent
    d_deflated = tangent
    d_values, d_vectors = [], []
    for a_i, vectors, norms in _iterate(a, starts, steps):
        d_v = xp.zeros_like(vectors[0])
        for k in range(steps):
            d_w = a_i @ d_v + d_deflated @ vectors[k]
            d_v = (d_w - vectors[k + 1] * real_part(adjoint(vectors[k + 1]) @ d_w)) / norms[k]
        v = vectors[-1]
        d_value = adjoint(d_v) @ a_i @ v + adjoint(v) @ d_deflated @ v + adjoint(v) @ a_i @ d_v
        d_values.append(real_part(d_value))
        d_vectors.append(d_v)
        d_deflated = d_deflated - (d_deflated @ v + a_i @ d_v) @ adjoint(v) - (a_i @ v) @ adjoint(d_v)
    return _side_by_side(d_values)[..., 0, :], _side_by_side(d_vectors)


def _iterate(a: Array, starts: Array, steps: int) -> list[_Iterates]:
    deflated, found = a, []
    starts = namespace(a).reshape(starts, (*(1,) * (a.ndim - starts.ndim), *starts.shape))
    for i in range(a.shape[-1]):
        v = starts[..., :, i : i + 1]
        v = v / _norm(v)
        # One shape for all iterates: the start may be shared by the batch.
        v = v + namespace(a).zeros_like(deflated[..., :, :1])
        vectors, norms = [v], []
        for _ in range(steps):
            w = deflated @ v
            norms.append(_norm(w))
            v = w / norms[-1]
            vectors.append(v)
        found.append(_Iterates(deflated, vectors, norms))
        deflated = deflated - (deflated @ v) @ adjoint(v)
    return found


def _side_by_side(columns: list[Array]) -> Array:
    """Columns (..., n, 1) as a matrix."""
    # Not by `concat`, which cannot be batched everywhere.
    return namespace(columns[0]).stack([column[..., 0] for column in columns], axis=-1)


def _norm(v: Array) -> Array:
    return namespace(v).sqrt(column_products(v, v))[..., None]


def _rayleigh_quotient(a: Array, v: Array) -> Array:
    return real_part(adjoint(v) @ a @ v)
