"""Test errors that the authors of paper 1 print, in per cent, with the deviation over their runs.

From the TeX sources of a draft of the paper, which lie with its code:
github.com/cvlab-epfl/Power-Iteration-SVD, ``Nips/tex/3_experiments.tex``. Of ResNet-18 on CIFAR-10, but for
`CIFAR100`. "NaN" is printed there; what the draft leaves empty, such as the errors of whitening by power
iteration, is missing here.

Whitening by SVD-PI has the same means in the table of the code's README. The first four entries of `RANK` and
of `STEPS` agree in every digit, so that one of the two may be unfinished.
"""

__all__ = ["CIFAR100", "ENERGY", "METHODS", "PLACEMENT", "RANK", "STEPS", "WHITENING"]

_BATCH_NORM = "4.81 +- 0.19"
_DENOISED = "4.67 +- 0.06"

# By method and group size d.
WHITENING = {
    "BatchNorm": dict.fromkeys((4, 8, 16, 32, 64), _BATCH_NORM),
    "SVD": {4: "4.53 +- 0.15", **dict.fromkeys((8, 16, 32, 64), "NaN")},
    "SVD-PI": {
        4: "4.71 +- 0.11",
        8: "4.62 +- 0.18",
        16: "4.63 +- 0.14",
        32: "4.64 +- 0.15",
        64: "4.59 +- 0.09",
    },
}

# By network, then group size d of whitening by SVD-PI; 1 is batch normalisation.
CIFAR100 = {
    "ResNet-18": {
        1: "21.85 +- 0.14",
        4: "21.51 +- 0.28",
        8: "21.56 +- 0.35",
        16: "21.45 +- 0.25",
        32: "21.58 +- 0.27",
        64: "21.39 +- 0.23",
    },
    "ResNet-50": {
        1: "21.62 +- 0.65",
        4: "20.98 +- 0.31",
        8: "20.59 +- 0.58",
        16: "19.92 +- 0.12",
        32: "19.54 +- 0.23",
        64: "19.94 +- 0.44",
    },
}

# PCA denoising: by energy kept in per cent, by rank kept, by steps K of power iteration, and by method.
ENERGY = {
    85: "5.60 +- 0.74",
    90: "5.05 +- 0.07",
    95: _DENOISED,
    99: "4.63 +- 0.11",
    99.5: "4.72 +- 0.10",
    100: "4.81 +- 0.19",
}
RANK = {2: "4.72 +- 0.10", 4: "4.63 +- 0.09", 8: "4.67 +- 0.09", 16: "4.61 +- 0.14", 32: "4.65 +- 0.08"}
STEPS = {
    1: "4.72 +- 0.10",
    2: "4.63 +- 0.09",
    4: "4.67 +- 0.09",
    9: "4.61 +- 0.14",
    14: "4.69 +- 0.11",
    19: "4.63 +- 0.11",
    29: "4.61 +- 0.03",
}
METHODS = {"BatchNorm": _BATCH_NORM, "PI": "5.35 +- 0.25", "SVD": "NaN", "SVD-PI": _DENOISED}

# By kind of layer: in one layer, and in each layer of a block.
PLACEMENT = {"PCA": (_DENOISED, "5.30 +- 0.12"), "ZCA": ("5.02 +- 0.28", "5.50 +- 0.10")}
