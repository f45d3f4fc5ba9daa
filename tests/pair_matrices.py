"""The pair matrix of a rule, and the exact one."""

import numpy as np


def exact(values):
    with np.errstate(divide="ignore"):
        pairs = 1.0 / (values[None, :] - values[:, None])
    np.fill_diagonal(pairs, 0.0)
    return pairs


def matrix(backend, rule, values):
    return backend.numpy(rule.matrix(backend.array(values)))
