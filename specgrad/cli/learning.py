"""Supervised principal components: learn pixel weights by descent through dominant eigenvectors.

Pixels are scaled by positive weights ``w``, projected on the dominant eigenvectors ``V`` of their
covariance ``diag(w) C diag(w)``, and classified by the nearest class mean ``m_c``. The loss is the cross
entropy of ``p(c | y) ~ exp(-|y - m_c|^2 / T)``. Distances do not change with the basis of the subspace,
so the loss has a gradient in ``w``; it runs through ``V``.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from specgrad.decompositions import eigh
from specgrad.solvers import Solver
from specgrad.transforms import vjp
from specgrad.truncation import MaxRank

__all__ = ["Backend", "Digits", "Split", "Step", "descend", "load_splits", "loss_and_gradient"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RANK = 8
TEMPERATURE = 0.25
LEARNING_RATE = 0.5
CLASSES = 10


class Backend(StrEnum):
    """Whose arrays and gradients the demo learns with."""

    NUMPY = "numpy"
    TORCH = "torch"

    def is_installed(self) -> bool:
        """Whether its library can be imported."""
        return find_spec(self.value) is not None


class Split(NamedTuple):
    """Images as rows of centred pixels, and their digits."""

    pixels: Floats
    labels: Integers


class Digits(NamedTuple):
    """To learn from, to choose the step by, and to report on."""

    train: Split
    validation: Split
    test: Split


class Step(NamedTuple):
    """One step of the descent, before its update."""

    weights: Floats
    loss: float
    validation_accuracy: float
    test_accuracy: float


def load_splits() -> Digits:
    """scikit-learn's 1797 handwritten digits, shuffled once and centred on the training mean."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    train, validation, test = np.split(order, [900, 1300])
    pixels = digits.data / 16 - np.mean(digits.data[train] / 16, axis=0)
    return Digits(*(Split(pixels[part], digits.target[part]) for part in (train, validation, test)))


def descend(digits: Digits, backend: Backend, solver: Solver, steps: int) -> Iterator[Step]:
    """Gradient descent on the logarithms of the weights, from all weights 1: yields ``steps + 1`` steps."""
    gradient_of = loss_and_gradient(backend)
    log_weights = np.zeros(digits.train.pixels.shape[1])
    for _ in range(steps + 1):
        loss, gradient = gradient_of(log_weights, digits.train, solver)
        weights = np.exp(log_weights)
        accuracies = [_accuracy(weights, digits.train, part, solver) for part in digits[1:]]
        yield Step(weights, loss, *accuracies)
        log_weights = log_weights - LEARNING_RATE * gradient


def loss_and_gradient(backend: Backend) -> Callable[[Floats, Split, Solver], tuple[float, Floats]]:
    """The loss and its gradient in the logarithms of the weights, by the backend."""
    return {Backend.NUMPY: _by_numpy, Backend.TORCH: _by_torch}[backend]


def _by_numpy(log_weights: Floats, data: Split, solver: Solver) -> tuple[float, Floats]:
    weights = np.exp(log_weights)
    covariance = data.pixels.T @ data.pixels / len(data.pixels)
    weighted_covariance = weights[:, None] * covariance * weights
    (_, vectors, _), pullback = vjp(eigh, weighted_covariance, truncation=MaxRank(RANK), solver=solver)
    weighted_pixels = data.pixels * weights
    loss, g_features = _cross_entropy(weighted_pixels @ vectors, data.labels)

    # The chain rule backwards, through features = (pixels * w) V and then through V.
    (g_covariance,) = pullback((None, weighted_pixels.T @ g_features, None))
    g_weights = np.sum(data.pixels * (g_features @ vectors.T), axis=0)
    g_weights = g_weights + 2 * (g_covariance * covariance) @ weights
    return loss, g_weights * weights


def _by_torch(log_weights: Floats, data: Split, solver: Solver) -> tuple[float, Floats]:
    torch, specgrad_torch = import_module("torch"), import_module("specgrad_torch")
    parameter = torch.tensor(log_weights, requires_grad=True)
    weights, pixels, labels = torch.exp(parameter), torch.tensor(data.pixels), torch.tensor(data.labels)
    weighted_pixels = pixels * weights
    weighted_covariance = weighted_pixels.T @ weighted_pixels / len(pixels)
    vectors = specgrad_torch.eigh(weighted_covariance, truncation=MaxRank(RANK), solver=solver).eigenvectors
    features = weighted_pixels @ vectors
    members = torch.nn.functional.one_hot(labels, CLASSES).to(features.dtype)
    means = (members / members.sum(dim=0)).T @ features
    squared_distances = torch.sum((features[:, None] - means) ** 2, dim=-1)
    loss = torch.nn.functional.cross_entropy(-squared_distances / TEMPERATURE, labels)
    loss.backward()
    return loss.item(), parameter.grad.numpy()


def _cross_entropy(features: Floats, labels: Integers) -> tuple[float, Floats]:
    """The loss, and its cotangent of the features."""
    members = np.eye(CLASSES)[labels]
    shares = members / np.sum(members, axis=0)
    differences = features[:, None] - shares.T @ features
    logits = -np.sum(differences**2, axis=-1) / TEMPERATURE
    logits = logits - np.max(logits, axis=-1, keepdims=True)
    log_probabilities = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    loss = -np.mean(np.sum(members * log_probabilities, axis=-1))

    g_logits = (np.exp(log_probabilities) - members) / len(labels)
    g_differences = -2 / TEMPERATURE * g_logits[..., None] * differences
    g_means = -np.sum(g_differences, axis=0)
    return float(loss), np.sum(g_differences, axis=1) + shares @ g_means


def _accuracy(weights: Floats, train: Split, part: Split, solver: Solver) -> float:
    """The share of `part` that is nearest to the mean of its own class, as seen in training."""
    weighted_pixels = train.pixels * weights
    weighted_covariance = weighted_pixels.T @ weighted_pixels / len(train.pixels)
    vectors = eigh(weighted_covariance, truncation=MaxRank(RANK), solver=solver).eigenvectors
    features = weighted_pixels @ vectors
    means = np.stack([np.mean(features[train.labels == digit], axis=0) for digit in range(CLASSES)])
    differences = (part.pixels * weights @ vectors)[:, None] - means
    return float(np.mean(np.argmin(np.sum(differences**2, axis=-1), axis=-1) == part.labels))
