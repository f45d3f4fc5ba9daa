"""How many power iterations a spectrum needs."""

from math import ceil, log

from specgrad._require import as_number

__all__ = ["required_steps"]


def required_steps(ratio: float, tolerance: float = 0.05) -> int:
    """The number of power iterations after which ``ratio**steps`` is at most `tolerance`.

    Parameters
    ----------
    ratio : float
        ``q = l_{i+1}/l_i`` of neighbouring eigenvalues, in [0, 1).
    tolerance : float, default 0.05
        In (0, 1).

    Returns
    -------
    int
        ``ceil(log(tolerance)/log(ratio))``, at least 1.

    Raises
    ------
    TypeError, ValueError
        If the ratio or the tolerance is no number, or out of range; at a ratio of 1 no number suffices.

    References
    ----------
    Wang et al. (NeurIPS 2019), Table 1. Its entries are the values for 0.05; the 0.01 in its header is
    a misprint.

    Examples
    --------
    >>> [required_steps(q) for q in (0.2, 0.4, 0.6, 0.8, 0.85, 0.9, 0.95, 0.99, 0.995, 0.999)]
    [2, 4, 6, 14, 19, 29, 59, 299, 598, 2995]
    """
    ratio, tolerance = as_number(ratio, "ratio"), as_number(tolerance, "tolerance")
    if not 0 <= ratio < 1:
        raise ValueError(f"The ratio of neighbouring eigenvalues must be in [0, 1), and is {ratio}.")
    if not 0 < tolerance < 1:
        raise ValueError(f"The tolerance must be in (0, 1), and is {tolerance}.")
    return 1 if ratio == 0 else max(1, ceil(log(tolerance) / log(ratio)))
