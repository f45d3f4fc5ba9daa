"""Checks a gap rule against its contract."""

from collections.abc import Sequence

import numpy as np

from specgrad._namespace import namespace
from specgrad._typing import Array, Namespace
from specgrad.gaps import GapRule
from specgrad.testing._arrays import copied, is_unchanged, on_device
from specgrad.testing.gap_properties import GAP_PROPERTIES, GapProperty, batches
from specgrad.testing.spectra import SPECTRA, Spectrum

__all__ = ["check_gap"]


def check_gap(
    rule: GapRule,
    xp: Namespace,
    *,
    without: Sequence[GapProperty] = (),
    spectra: Sequence[Spectrum] = SPECTRA,
    sizes: Sequence[int] = (1, 2, 6),
    dtypes: Sequence[str] = ("float32", "float64"),
    device: object = None,
) -> None:
    """Check the properties of a gap rule on every named spectrum.

    The last size and dtype stand for all where shapes of batches are tried (`batches`).

    Parameters
    ----------
    rule : GapRule
    xp : module
        Of the array library, with ``asarray`` of NumPy arrays: `numpy`, `torch`, `jax.numpy`, ...
    without : sequence of properties
        Those of `GAP_PROPERTIES` that the rule does not claim, such as `antisymmetry` and
        `permutation_equivariance` for the published power iteration rule, or `wide_gaps` for a rule that is
        meant to be far from 1/gap.
    spectra : sequence of Spectrum, default SPECTRA
    sizes : sequence of int
    dtypes : sequence of str
    device : device of the array library, optional

    Raises
    ------
    AssertionError
        With the spectrum, what was measured and what is allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import BroadenedGap
    >>> from specgrad.testing import check_gap
    >>> check_gap(BroadenedGap(width=1e-3), np)
    """
    for n in sizes:
        for dtype in dtypes:
            each = [
                on_device(xp, spectrum.eigenvalues(n, dtype).astype(dtype), device) for spectrum in spectra
            ]
            batch = namespace(each[0]).stack(each)
            # Shapes of batches once: a library may compile every operation anew for each.
            once = (n, dtype) == (sizes[-1], dtypes[-1])
            for holds in GAP_PROPERTIES:
                if holds is batches and not once:
                    continue
                if holds not in without and _failure(holds, rule, batch):
                    # One of the batch fails: say which, or that it takes the batch.
                    failures = (
                        (spectrum, _failure(holds, rule, x))
                        for spectrum, x in zip(spectra, each, strict=True)
                    )
                    name, failure = next(
                        ((f"'{spectrum}'", failure) for spectrum, failure in failures if failure),
                        ("a batch of spectra, and not alone", _failure(holds, rule, batch)),
                    )
                    raise AssertionError(f"{rule!r} on {name}, n = {n}, {dtype}: {failure}")


def _failure(holds: GapProperty, rule: GapRule, values: Array) -> str:
    """What is wrong, empty if nothing is."""
    given, found = copied(values), ""
    try:
        with np.errstate(all="ignore"):  # infinities at ties are a rule's right
            holds(rule, given)
    except AssertionError as failure:
        found = str(failure)
    except Exception as error:  # whatever a plug-in raises is a finding
        found = f"it raises {type(error).__name__} in {holds.__name__}: {error}"
    if not is_unchanged(given, values):  # which spoils the property too
        return "it writes into the eigenvalues, which belong to the caller."
    return found
