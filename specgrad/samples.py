"""Checks of data, variables in rows and samples last, with errors that say what to do."""

from specgrad._namespace import is_array, is_complex, is_floating, namespace
from specgrad._places import first_index, place
from specgrad._require import as_number, as_whole
from specgrad._typing import Array, Arrays
from specgrad.validation import require_floating, to_computing_precision

__all__ = [
    "in_one_precision",
    "require_affine",
    "require_enough_weight",
    "require_finite_covariance",
    "require_groups",
    "require_samples",
    "require_weights",
]


def require_samples(x: Array, name: str, correction: float) -> None:
    """Raise unless `x` is (..., p, m), floating, with more samples than the correction takes off."""
    require_floating(x, name)
    if x.ndim < 2:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, and variables in rows with samples last are needed: "
            "(..., p, m)."
        )
    if x.shape[-1] <= as_number(correction, "correction"):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, so {x.shape[-1]} samples in its last axis, and a covariance "
            f"with correction={correction} needs more than {correction}. Samples come last: transpose {name} "
            "if they come first."
        )


def require_weights(weights: Array, x: Array) -> None:
    """Raise unless there is one real weight for each sample, in batches that go with those of the data."""
    if not is_array(weights) or not is_floating(weights) or is_complex(weights):
        raise TypeError(
            "weights must be an array of a real floating dtype, one nonnegative number for each sample, "
            f"not {getattr(weights, 'dtype', type(weights).__name__)}: convert them to that of x, a mask too."
        )
    pairs = zip(reversed(weights.shape[:-1]), reversed(x.shape[:-2]), strict=False)
    goes_with = weights.ndim and all(i == j or 1 in (i, j) for i, j in pairs)
    if not goes_with or weights.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"weights has shape {tuple(weights.shape)}, and (..., {x.shape[-1]}) is needed, with batch axes "
            f"that broadcast against those of x: one for each sample of x, which has shape {tuple(x.shape)}."
        )


def require_enough_weight(weights: Array, correction: float) -> None:
    """Raise unless weights, which must be readable, are worth more samples than the correction takes off."""
    xp = namespace(weights)
    wrong = ~xp.all(xp.isfinite(weights) & (weights >= 0), axis=-1) | ~xp.any(weights > 0, axis=-1)
    if bool(xp.any(wrong)):
        raise ValueError(
            f"The weights at batch index {first_index(wrong)} have a negative one or one that is not finite, "
            "or are all 0: each sample needs a nonnegative weight, and some sample a positive one."
        )
    share = weights / xp.max(weights, axis=-1, keepdims=True)
    count = xp.sum(share, axis=-1) ** 2 / xp.sum(share * share, axis=-1)
    too_few = count <= correction
    if bool(xp.any(too_few)):
        index = first_index(too_few)
        raise ValueError(
            f"The weights at batch index {index} are worth {float(count[index]):.3g} samples (their sum, "
            f"squared, over the sum of their squares), and a covariance with correction={correction} needs "
            "more than that: spread them over more samples, or give a smaller correction."
        )


def require_affine(weight: Array | None, bias: Array | None, x: Array) -> None:
    """Raise unless there is a weight and a bias for each variable, or neither."""
    if (weight is None) != (bias is None):
        raise ValueError(
            "weight and bias go together: give both, or neither. A bias of zeros, or a weight of ones, "
            "changes nothing."
        )
    for name, vector in (("weight", weight), ("bias", bias)):
        if vector is None:
            continue
        require_floating(vector, name)
        if is_complex(vector) and not is_complex(x):
            raise TypeError(f"{name} has dtype {vector.dtype}, and x is real: take the real part.")
        if tuple(vector.shape) != (x.shape[-2],):
            raise ValueError(
                f"{name} has shape {tuple(vector.shape)}, and ({x.shape[-2]},) is needed: one number for "
                f"each variable of x, which has shape {tuple(x.shape)}."
            )


def require_groups(groups: int, x: Array) -> None:
    """Raise unless the groups are of equal size."""
    if x.shape[-2] % as_whole(groups, "groups", 1):
        raise ValueError(
            f"groups={groups} does not divide the {x.shape[-2]} variables of x, which has shape "
            f"{tuple(x.shape)}: groups of equal size are needed."
        )


def require_finite_covariance(covariance: Array, name: str, groups: int | None = None) -> None:
    """Raise if a covariance, which must be readable, is not finite."""
    xp = namespace(covariance)
    finite = xp.all(xp.isfinite(covariance), axis=(-2, -1))
    if bool(xp.all(finite)):
        return
    raise ValueError(
        f"The covariance of {name} at {place(first_index(~finite), groups)} is not finite: {name} has NaN or "
        "infinite entries there, or numbers whose squares overflow. Repair it, or pass check_finite=False to "
        "get NaN for it alone."
    )


def in_one_precision(x: Array, *parameters: Array | None) -> Arrays:
    """The data in their computing precision, and the parameters that there are, real ones staying real."""
    x = to_computing_precision(x)
    xp = namespace(x)
    real = x.dtype
    if is_complex(x):
        real = xp.float32 if x.dtype == xp.complex64 else xp.float64

    def cast(parameter: Array) -> Array:
        dtype = x.dtype if is_complex(parameter) else real
        return parameter if parameter.dtype == dtype else xp.astype(parameter, dtype)

    return x, *(cast(parameter) for parameter in parameters if parameter is not None)
