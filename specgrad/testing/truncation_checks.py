"""Checks a truncation against its contract."""

from collections.abc import Sequence

import numpy as np

from specgrad._namespace import namespace
from specgrad._typing import Array, Namespace
from specgrad.leading import by_magnitude
from specgrad.testing._arrays import copied, is_unchanged, on_device
from specgrad.testing.spectra import SPECTRA, Spectrum
from specgrad.truncation import Truncation

__all__ = ["check_truncation"]


def check_truncation(
    truncation: Truncation,
    xp: Namespace,
    *,
    spectra: Sequence[Spectrum] = SPECTRA,
    sizes: Sequence[int] = (1, 2, 6),
    dtypes: Sequence[str] = ("float32", "float64", "complex64", "complex128"),
    device: object = None,
) -> None:
    """Check what a truncation marks in matrices of every named spectrum.

    Marks are booleans, one for each eigenvalue; they are the same for a matrix alone and in a batch of any
    shape, and whatever signs or phases the eigenvectors have; and no argument is written into.

    Parameters
    ----------
    truncation : Truncation
    xp : module
        Of the array library, with ``asarray`` of NumPy arrays: `numpy`, `torch`, `jax.numpy`, ...
    spectra : sequence of Spectrum, default SPECTRA
        Others for a truncation that weighs rounding against eigenvalues, as `RayleighMismatch` does: on
        those that are rounding themselves its marks are chance.
    sizes : sequence of int
    dtypes : sequence of str
    device : device of the array library, optional

    Raises
    ------
    AssertionError
        With the spectrum, and what is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import EnergyRatio
    >>> from specgrad.testing import check_truncation
    >>> check_truncation(EnergyRatio(0.9), np)
    """
    for n in sizes:
        for dtype in dtypes:
            each = [_decomposed(spectrum, n, dtype, xp, device) for spectrum in spectra]
            batch = tuple(map(namespace(each[0][0]).stack, zip(*each, strict=True)))
            alone = [
                _marks(truncation, arguments, f"{truncation!r} on '{spectrum}', n = {n}, {dtype}")
                for spectrum, arguments in zip(spectra, each, strict=True)
            ]
            _require_batches(truncation, batch, alone, f"{truncation!r} on a batch, n = {n}, {dtype}")
            _require_no_gauge(truncation, batch, f"{truncation!r}, n = {n}, {dtype}")


def _decomposed(
    spectrum: Spectrum, n: int, dtype: str, xp: Namespace, device: object
) -> tuple[Array, Array, Array]:
    """A matrix of a spectrum, with eigenvalues and eigenvectors, the largest magnitude first."""
    a = spectrum.matrix(n, dtype)
    wide = a.astype(np.result_type(a, np.float64))
    values, vectors = by_magnitude(*np.linalg.eigh(wide))
    numbers = a, values.astype(a.real.dtype), vectors.astype(a.dtype)
    a, values, vectors = (on_device(xp, np.ascontiguousarray(x), device) for x in numbers)
    return a, values, vectors


def _marks(truncation: Truncation, arguments: tuple[Array, ...], name: str) -> Array:
    """The marks, or an error if they are none."""
    given = tuple(map(copied, arguments))
    values = arguments[1]
    try:
        marks = truncation.keep(*given)
    except Exception as error:  # whatever a plug-in raises is a finding
        raise AssertionError(f"{name}: it raises {type(error).__name__}: {error}") from error
    if not all(map(is_unchanged, given, arguments)):
        raise AssertionError(f"{name}: it writes into its arguments, which belong to the caller.")
    dtype, shape = getattr(marks, "dtype", None), getattr(marks, "shape", None)
    if dtype != namespace(values).bool or shape != values.shape:
        raise AssertionError(
            f"{name}: it gives a {type(marks).__name__} of dtype {dtype} and shape {shape}, and booleans of "
            f"shape {tuple(values.shape)} are needed, one for each eigenvalue."
        )
    return marks


def _require_batches(
    truncation: Truncation, batch: tuple[Array, ...], alone: Sequence[Array], name: str
) -> None:
    """Marks of a batch with one axis, with two, and of none, are those of each matrix alone."""
    xp = namespace(batch[0])
    needed = xp.stack(list(alone))
    two_axes = tuple(xp.stack([x, xp.flip(x, axis=0)]) for x in batch)
    empty = tuple(x[:0, ...] for x in batch)
    for arguments, expected in (
        (batch, needed),
        (two_axes, xp.stack([needed, xp.flip(needed, axis=0)])),
        (empty, needed[:0, ...]),
    ):
        if not bool(xp.all(_marks(truncation, arguments, name) == expected)):
            raise AssertionError(f"{name}: it marks a matrix in a batch in another way than the same alone.")


def _require_no_gauge(truncation: Truncation, batch: tuple[Array, ...], name: str) -> None:
    """Marks do not change with the signs or phases of eigenvectors, which are the solver's choice."""
    a, values, vectors = batch
    xp = namespace(a)
    turns = np.exp(1j * np.arange(1, values.shape[-1] + 1))
    if xp.isdtype(a.dtype, "real floating"):
        turns = np.sign(turns.real)
    turned = vectors * xp.asarray(turns, dtype=a.dtype, device=a.device)
    before, after = (_marks(truncation, (a, values, v), name) for v in (vectors, turned))
    if not bool(xp.all(before == after)):
        raise AssertionError(
            f"{name}: its marks change with the signs or phases of the eigenvectors, which are arbitrary."
        )
