"""A loss of the subspace of a closing pair of eigenvalues, and its gradient."""

from functools import cache

import numpy as np

from specgrad import eigh, vjp
from specgrad.testing import ClusterLoss, subspace_gradient


def leading_pair(n):
    return ClusterLoss(((n - 2, n - 1),))


@cache
def pair_case(spectrum, n, dtype):
    """A matrix whose leading pair is closing, and the gradient of a loss of its subspace."""
    a = spectrum.matrix(n, dtype)
    return a, subspace_gradient(a, leading_pair(n))


def gradient_of(backend, loss, a, **options):
    output, pullback = vjp(eigh, backend.array(a), **options)
    return backend.numpy(pullback(loss.cotangents(output))[0])


def relative_error(measured, expected):
    return np.linalg.norm(measured - expected) / np.linalg.norm(expected)
