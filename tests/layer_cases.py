"""What the tests of the whitening and denoising layers share: their input, and layers in double precision."""

from torch_cases import torch

from specgrad_torch.nn import PCADenoising, ZCAWhitening

LAYERS = [ZCAWhitening, PCADenoising]


def inputs(shape=(4, 6, 3, 4), seed=0, dtype=torch.float64):
    """Correlated channels with a mean, each with a scale of its own."""
    generator = torch.manual_seed(seed)
    channels = shape[1]
    mixing = torch.eye(channels) + 0.4 * torch.randn(channels, channels, generator=generator)
    noise = torch.randn(shape, generator=generator)
    return (torch.einsum("dc,nc...->nd...", mixing, noise) + 1.5).to(dtype)


def double(layer, *args, **options):
    return layer(6, *args, dtype=torch.float64, **options)
