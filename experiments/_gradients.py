"""Gradients of three losses by every rule and by PyTorch, and their errors against 50 digits."""

import warnings
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import torch

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    GaugeWarning,
    MaskedGap,
    MaxRank,
    PadeGap,
    PowerIterationGap,
    TaylorGap,
    ThroughEigenvectors,
    TopNGap,
    eigh,
    inv_sqrtm,
    spectral_projector,
    vjp,
)
from specgrad.testing import ClusterLoss, cluster_gradient

__all__ = ["EXACT", "RULES", "InverseRoot", "Leading", "relative_error"]

EXACT = "exact rule"

RULES: dict[str, Any] = {
    "masked (default)": MaskedGap(),
    "analytic": ExactGap(),
    "broadened": BroadenedGap(),
    "clipped": ClippedGap(),
    "top-N": TopNGap(2),
    "Taylor": TaylorGap(),
    "Pade": PadeGap(),
    "power iteration": PowerIterationGap(),
    "balanced PI": BalancedPowerIterationGap(),
}


@dataclass(frozen=True)
class Leading:
    """``tr(W P)``, P the projector on the leading `rank` eigenvectors and W a random weight."""

    rank: int

    def truth(self, a: Any) -> Any:
        return cluster_gradient(a, self._loss(a))

    def gradients(self, a: Any) -> dict[str, Any]:
        found = {}
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # A single eigenvector of a tie has no gradient: that is what is shown.
            warnings.simplefilter("ignore", GaugeWarning)
            for name, rule in RULES.items():
                output, pullback = vjp(eigh, a, gap=rule)
                found[name] = pullback(self._loss(a).cotangents(output))[0]
        if self.rank > 1:
            _, pullback = vjp(spectral_projector, a, MaxRank(self.rank))
            found[EXACT] = pullback(self._weight(a))[0]
        leaf = torch.from_numpy(a).requires_grad_()
        kept = torch.linalg.eigh(leaf)[1][:, -self.rank :]
        found["torch.linalg.eigh"] = _torch_gradient(kept @ kept.mT, leaf, self._weight(a))
        return found

    def _loss(self, a: Any) -> ClusterLoss:
        return ClusterLoss(clusters=(tuple(range(len(a) - self.rank, len(a))),))

    def _weight(self, a: Any) -> Any:
        return self._loss(a).weight(0, len(a), a.dtype)


@dataclass(frozen=True)
class InverseRoot:
    """``tr(W A^(-1/2))``, W a random weight."""

    def truth(self, a: Any) -> Any:
        """The Frechet derivative of the inverse square root at A along W, without eigenvectors.

        A block of ``[[A, W], [0, A]]^(-1/2)``, by Denman and Beavers' iteration with 60 digits.
        """
        n = len(a)
        weight = self._weight(a)
        with mpmath.workdps(60):
            y = mpmath.matrix(np.block([[a, weight], [np.zeros_like(a), a]]).tolist())
            z = mpmath.eye(2 * n)
            for _ in range(100):
                y, z, before = (y + z**-1) / 2, (z + y**-1) / 2, y
                if mpmath.mnorm(y - before) < mpmath.mpf(10) ** -45 * mpmath.mnorm(y):
                    break
            return np.array([[float(z[i, n + j]) for j in range(n)] for i in range(n)])

    def gradients(self, a: Any) -> dict[str, Any]:
        weight = self._weight(a)
        found = {}
        with np.errstate(all="ignore"):
            for name, rule in RULES.items():
                _, pullback = vjp(inv_sqrtm, a, gradient=ThroughEigenvectors(rule))
                found[name] = pullback(weight)[0]
        found[EXACT] = vjp(inv_sqrtm, a)[1](weight)[0]
        leaf = torch.from_numpy(a).requires_grad_()
        values, vectors = torch.linalg.eigh(leaf)
        found["torch.linalg.eigh"] = _torch_gradient((vectors * values**-0.5) @ vectors.mT, leaf, weight)
        return found

    def _weight(self, a: Any) -> Any:
        return ClusterLoss(clusters=()).weight(0, len(a), a.dtype)


def relative_error(gradient: Any, truth: Any) -> float:
    """In the Frobenius norm; NaN and infinite gradients have an infinite error."""
    error = np.linalg.norm(np.asarray(gradient, dtype=np.float64) - truth) / np.linalg.norm(truth)
    return float(error) if np.isfinite(error) else float("inf")


def _torch_gradient(output: Any, leaf: Any, weight: Any) -> Any:
    """The gradient of ``tr(weight output)``; within symmetric matrices, as the truth is."""
    (gradient,) = torch.autograd.grad((output * torch.from_numpy(weight)).sum(), leaf)
    return (0.5 * (gradient + gradient.mT)).numpy()
