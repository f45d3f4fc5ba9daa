"""Matrices in a metric with given eigenvalues, and losses of what solves them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from specgrad import generalised_eigh, vjp
from specgrad._namespace import namespace
from specgrad.testing import random_unitary

TIED = (1.0, 1.0, 2.0, 3.0, 4.0, 5.0)
APART = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)


def pencil(values, condition, dtype, seed=0):
    """``A = F diag(values) F^H``, ``B = F F^H`` of some condition number, and ``F`` before rounding."""
    generator, n = np.random.default_rng(seed), len(values)
    stretch = np.geomspace(1.0, condition**-0.5, n)
    frame = (random_unitary(n, dtype, generator) * stretch) @ random_unitary(n, dtype, generator)
    a, b = (frame * np.array(values)) @ frame.conj().T, frame @ frame.conj().T
    return *(((m + m.conj().T) / 2).astype(dtype) for m in (a, b)), frame


def gradients(backend, loss, a, b, **options):
    output, pullback = vjp(generalised_eigh, backend.array(a), backend.array(b), **options)
    return tuple(map(backend.numpy, pullback(loss.cotangents(output))))


def largest(x):
    return np.max(np.abs(x))


@dataclass(frozen=True)
class SquaredEigenvalues:
    """``sum l^2``, which has a gradient at ties."""

    def value(self, output: Any) -> Any:
        return namespace(output.eigenvalues).sum(output.eigenvalues**2)

    def cotangents(self, output: Any) -> Any:
        return type(output)(2.0 * output.eigenvalues, None)
