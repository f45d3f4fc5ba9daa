"""Ten thousand training steps on batches that break whitening: no parameter and no buffer goes bad."""

import itertools

import pytest
from torch_cases import torch

from specgrad import ExactGap, MaxRank, ThroughEigenvectors
from specgrad_torch.nn import PCADenoising, ZCAWhitening

CHANNELS, SAMPLES, STEPS = 8, 6, 10_000


def duplicated(x):
    x[:, 4:] = x[:, :4]


def constant(x):
    x[:, ::3] = 3.0


def all_constant(x):
    x[:] = x[:1]


def tiny(x):
    x *= 1e-6


def huge(x):
    x *= 1e6


def mixed_scales(x):
    x *= torch.logspace(-6, 6, CHANNELS)


def far_from_zero(x):
    x += 1e6


def few_positions(x):
    x[2:] = x[:1]


def nothing(x):
    pass


KINDS = [nothing, duplicated, constant, all_constant, tiny, huge, mixed_scales, far_from_zero, few_positions]
NAN_STEP = 1234


def batches(steps):
    """Fewer samples than channels, each in its own way degenerate, and in one a NaN."""
    generator = torch.manual_seed(0)
    for number, kind in zip(range(steps), itertools.cycle(KINDS), strict=False):
        x = torch.randn(SAMPLES, CHANNELS, generator=generator)
        kind(x)
        if number == NAN_STEP:
            x[0, 0] = float("nan")
        yield x


class Scale(torch.nn.Module):
    """A parameter for each channel, so that a gradient comes through the layer behind it."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(CHANNELS))

    def forward(self, x):
        return self.scale * x


LAYERS = {
    "whitening": lambda: ZCAWhitening(CHANNELS),
    "whitening in groups": lambda: ZCAWhitening(CHANNELS, groups=2, momentum=None),
    "denoising": lambda: PCADenoising(CHANNELS, momentum=None),
    "denoising in groups": lambda: PCADenoising(CHANNELS, groups=2, truncation=MaxRank(2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_ten_thousand_adversarial_steps_leave_every_number_finite(name):
    """Ten thousand over the four layers, without clipping."""
    module = torch.nn.Sequential(Scale(), LAYERS[name]())
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-2, momentum=0.9, foreach=False)
    skipped = 0
    for x in batches(STEPS // len(LAYERS)):
        loss = (module(x) - x.sign()).square().mean()
        if not torch.isfinite(loss):
            skipped += 1
            continue
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert skipped == 1
    for key, tensor in module.state_dict().items():
        assert torch.isfinite(tensor).all(), key
    assert (module[0].scale != 1).all()
    module.eval()
    for x in itertools.islice(batches(NAN_STEP), len(KINDS)):
        assert torch.isfinite(module(x)).all()


@pytest.mark.parametrize("layer", [ZCAWhitening, PCADenoising])
def test_the_analytic_gradient_does_not_survive_them(layer):
    """So the batches are what they are meant to be."""
    module = torch.nn.Sequential(Scale(), layer(CHANNELS, gradient=ThroughEigenvectors(ExactGap())))
    gradients = []
    for x in batches(len(KINDS)):
        (gradient,) = torch.autograd.grad((module(x) - x.sign()).square().mean(), module[0].scale)
        gradients.append(gradient)
    assert not torch.isfinite(torch.stack(gradients)).all()
