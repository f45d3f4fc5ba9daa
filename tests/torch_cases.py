"""What the tests of the PyTorch adapter share: matrices, options, and losses. Without PyTorch they skip."""

import importlib

import pytest
from backends import BACKENDS, UnavailableError, required

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    DenseEigh,
    DenseSVD,
    EigenvalueFloor,
    EnergyRatio,
    ExactGap,
    Fallback,
    MaskedGap,
    MaxRank,
    PadeGap,
    PowerIterationGap,
    RaiseGauge,
    RayleighMismatch,
    TaylorGap,
    TopNGap,
)

try:
    torch = BACKENDS["torch"].load()
except UnavailableError as reason:
    if "torch" in required():
        raise
    pytest.skip(str(reason), allow_module_level=True)

specgrad_torch = importlib.import_module("specgrad_torch")

# Ratios of 1/4 between neighbours: every rule has converged to the exact derivative there.
SEPARATED = ((64.0, 16.0, 4.0, 1.0), (1.0, 0.25, 4.0, 16.0))
# The second spectrum is flatter, so a truncation by energy keeps more of it.
RAGGED = ((64.0, 16.0, 4.0, 1.0), (10.0, 9.0, 8.0, 7.0))

GAP_RULES = (
    ExactGap(),
    MaskedGap(),
    BroadenedGap(),
    ClippedGap(),
    TopNGap(3),
    TaylorGap(),
    PadeGap(),
    PowerIterationGap(),
    BalancedPowerIterationGap(),
)
EXACT_RULES = (ExactGap(), MaskedGap(), BroadenedGap())

TRUNCATIONS = {  # and the rank that each keeps of the two ragged spectra
    MaxRank(2): (2, 2),
    EnergyRatio(0.9): (2, 4),
    EigenvalueFloor(absolute=7.5): (2, 3),
    RayleighMismatch(): (4, 4),
    MaxRank(3) & EnergyRatio(0.9): (2, 3),
    MaxRank(3) | EnergyRatio(0.9): (3, 4),
}

# Of `eigh`: what a compiler has to keep.
OPTIONS = (
    *({"gap": gap} for gap in GAP_RULES),
    {},
    {"truncation": EnergyRatio(0.9)},
    {"truncation": MaxRank(2)},
    {"truncation": MaxRank(3) & EnergyRatio(0.9)},
    {"solver": DenseSVD()},
    {"solver": Fallback(DenseEigh(), DenseSVD())},
    {"gauge": RaiseGauge()},
    {"check_finite": False},
)


def matrices(spectra, dtype=torch.float64, seed=0):
    """Hermitian matrices with these eigenvalues and random eigenvectors."""
    values = torch.tensor(spectra, dtype=dtype)
    shape = (*values.shape, values.shape[-1])
    vectors, _ = torch.linalg.qr(torch.randn(shape, dtype=dtype, generator=torch.manual_seed(seed)))
    return hermitian((vectors * values[..., None, :]) @ vectors.mH)


def hermitian(a):
    """The Hermitian part, so that a finite difference may move any entry."""
    return 0.5 * (a + a.mH)


def rebuilt(a, eigh=specgrad_torch.eigh, **options):
    """Eigenvalues, and ``V diag(1, 2, ..) V^H``: each eigenvector has its own weight, no phase has any."""
    values, vectors = eigh(hermitian(a), **options)[:2]
    weights = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)
    return values, (vectors * weights) @ vectors.mH


def loss(a, eigh=specgrad_torch.eigh, **options):
    """A real number that depends on every eigenvalue and eigenvector."""
    values, matrix = rebuilt(a, eigh, **options)
    n = matrix.shape[-1]
    pattern = torch.arange(n * n, dtype=values.dtype, device=values.device).reshape(n, n).cos()
    return (matrix.real * pattern).sum() + (values * values).sum()


def gradient(function, a):
    """The gradient of a scalar function at `a`, by the engine of PyTorch."""
    a = a.detach().requires_grad_()
    return torch.autograd.grad(function(a), a)[0]


def finite_differences(function, a, step=1e-5):
    """The derivative of `function` in each entry of a real `a`: shape of the output, then that of `a`."""
    moved = step * torch.eye(a.numel(), dtype=a.dtype).reshape(-1, *a.shape)
    columns = [(function(a + d) - function(a - d)) / (2 * step) for d in moved]
    return torch.stack(columns, dim=-1).reshape(*columns[0].shape, *a.shape)


# Diagonal, so that the tie is exact in floating point, and the eigenspaces are known.
TIED = torch.diag(torch.tensor([1.0, 3.0, 1.0, 5.0], dtype=torch.float64))


def tied_subspace_loss(a, eigh=specgrad_torch.eigh, **options):
    """``<G, P>`` with P the projector on the two smallest eigenvalues; at `TIED` they agree."""
    _, vectors = eigh(hermitian(a), **options)[:2]
    kept = vectors[..., :, :2]
    return (_pattern(a) * (kept @ kept.mT)).sum()


def tied_subspace_gradient():
    """Its gradient at `TIED`: ``herm(G)_ij / (l_in - l_out)`` with one of i, j in the subspace, else 0."""
    values = TIED.diagonal()
    inside = (values == 1.0).double()
    across = inside[:, None] - inside[None, :]
    gaps = values[:, None] - values[None, :]
    return hermitian(_pattern(TIED)) * torch.where(across != 0, across / gaps, 0.0)


def _pattern(a):
    return torch.arange(a.numel(), dtype=a.dtype).reshape(a.shape).sin()
