"""Layers of second-order statistics for PyTorch networks."""

from specgrad_torch.nn.denoising import PCADenoising
from specgrad_torch.nn.distributed import convert_sync_whitening
from specgrad_torch.nn.hybrid import HybridProtocol
from specgrad_torch.nn.pooling import CovariancePooling
from specgrad_torch.nn.whitening import ZCAWhitening

__all__ = [
    "CovariancePooling",
    "HybridProtocol",
    "PCADenoising",
    "ZCAWhitening",
    "convert_sync_whitening",
]
