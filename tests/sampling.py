"""Data for tests of statistics."""

import numpy as np


def samples(dtype="float64", shape=(6, 40), seed=0):
    """Correlated data with spread variances and a mean, and well-separated eigenvalues."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * generator.standard_normal(shape)
    p = shape[-2]
    mixing = np.eye(p) + 0.3 * generator.standard_normal((p, p))
    spread = np.geomspace(3.0, 0.5, p)[:, None]
    return (mixing @ (spread * x) + np.arange(p)[:, None]).astype(dtype)


def weights_of(shape, seed=1):
    """Positive weights of samples."""
    return np.random.default_rng(seed).uniform(0.2, 2.0, shape)
