"""PCA denoising and whitening of a stack of images, with gradients, on NumPy or CuPy arrays.

    python examples/image_stack.py           # NumPy
    python examples/image_stack.py --cupy    # CuPy, checked against NumPy

Scikit-learn's digits, 8 x 8 pixels, with noise on top. The quality of the denoised stack is differentiated
with respect to every noisy pixel by `vjp`: no tape and no framework.
"""

import argparse
import importlib
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from specgrad import MaxRank

__all__ = ["main", "run"]

_PIXELS_KEPT = 0.1  # of variance: the border pixels of the digits are constant
_RANK = 12


def run(functions: Any, xp: Any) -> tuple[Any, Any, Any]:
    """The error of the noisy and the denoised stack, and the gradient of the latter in the noisy pixels."""
    clean = load_digits().data.T  # pixels in rows, images last
    clean = clean[clean.var(axis=1) > _PIXELS_KEPT]
    noise = 4.0 * np.random.default_rng(0).standard_normal(clean.shape)
    images = xp.asarray(clean + noise)
    target = xp.asarray(clean - clean.mean(axis=1, keepdims=True))

    result, pullback = functions.vjp(functions.pca_denoise, images, truncation=MaxRank(_RANK), scaling=None)
    difference = result.denoised - target
    (gradient,) = pullback((2.0 * difference / difference.size, None, None, None))

    whitened = functions.zca_whiten(result.denoised).whitened
    covariance = functions.covariance(whitened, correction=0)
    values = functions.eigvalsh(covariance)[-_RANK:]
    assert float(abs(values - 1).max()) < 1e-6, "what is kept has variance 1 in every direction"
    return ((images - xp.asarray(clean)) ** 2).mean(), (difference**2).mean(), gradient


def main() -> None:
    """Run on NumPy, and on CuPy if asked; print errors and the agreement."""
    parser = argparse.ArgumentParser(description="Denoise and whiten a stack of images, with gradients.")
    parser.add_argument("--cupy", action="store_true", help="run on CuPy too, and compare with NumPy")
    on_gpu = parser.parse_args().cupy
    noisy, denoised, gradient = run(importlib.import_module("specgrad"), np)
    print(f"mean squared error: {noisy:.2f} noisy, {denoised:.2f} denoised to rank {_RANK}")
    if on_gpu:
        cupy = importlib.import_module("cupy")
        *_, other = run(importlib.import_module("specgrad_cupy"), cupy)
        error = np.linalg.norm(cupy.asnumpy(other) - gradient) / np.linalg.norm(gradient)
        print(f"gradient on CuPy against NumPy: relative difference {error:.1e}")


if __name__ == "__main__":
    main()
