"""What counts as a failure of training, and the sizes of the networks."""

import math

import pytest
from torch_cases import torch

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL.Image")

from torch import nn

from experiments._data import Images
from experiments._networks import resnet, small_network
from experiments._training import train
from specgrad import ConvergenceError

STEPS_IN_AN_EPOCH = 2


def images(classes=3):
    """Images whose brightness is their class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64 * STEPS_IN_AN_EPOCH) % classes
    pixels = labels[:, None, None, None] + 0.1 * torch.randn(len(labels), 1, 4, 4, generator=generator)
    return Images(pixels, labels, pixels[:30], labels[:30])


class Broken(nn.Module):
    """A linear network that breaks at one training step."""

    def __init__(self, step, breaks):
        super().__init__()
        self.linear, self.step, self.breaks, self.count = nn.Linear(16, 3), step, breaks, 0

    def forward(self, x):
        y = self.linear(x.flatten(1))
        if self.training:
            self.count += 1
            if self.count > self.step:
                return self.breaks(y)
        return y


def infinite_gradient(y):
    """The values of `y`, with an infinite derivative."""
    return y + (y - y.detach()).abs().sqrt()


def raise_error(error):
    def fail(y):
        raise error("did not converge")

    return fail


FAILURES = {
    "loss": lambda y: y * float("nan"),
    "gradient": infinite_gradient,
    "torch's decomposition": raise_error(torch.linalg.LinAlgError),
    "a solver of this library": raise_error(ConvergenceError),
}


@pytest.mark.parametrize("breaks", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_failure_ends_the_run_in_its_epoch(epoch, breaks):
    last_step = (epoch + 1) * STEPS_IN_AN_EPOCH - 1
    run = train(lambda: Broken(last_step, breaks), images(), 0, 4)
    assert run.failed_in_epoch == epoch
    assert math.isnan(run.final)
    assert len(run.errors) == len(run.top5) == epoch
    assert math.isnan(run.best) == (epoch == 0)


def test_other_errors_are_not_failures_of_the_method():
    with pytest.raises(ZeroDivisionError):
        train(lambda: Broken(0, raise_error(ZeroDivisionError)), images(), 0, 1)


def test_training_learns_and_a_seed_fixes_it():
    def build():
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    first, again, other = (train(build, images(), seed, 8) for seed in (0, 0, 1))
    assert first.errors == again.errors
    assert first.errors != other.errors
    assert first.final <= first.errors[0] - 30
    assert first.top5 == [0.0] * 8  # of three classes, all are among five


def test_fewer_images_than_a_batch_are_one_batch():
    few = Images(*(part[:20] for part in images()))
    run = train(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), few, 0, 30)
    assert run.best <= run.errors[0] - 30


def test_the_network_is_shown_after_each_epoch():
    seen = []
    train(lambda: Broken(99, None), images(), 0, 3, after_epoch=lambda network, epoch: seen.append(epoch))
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_173_962), (50, 23_520_842), (101, 42_512_970)])
def test_residual_networks_have_the_known_sizes(depth, parameters):
    """Numbers of parameters that are known for 32 x 32 images and ten classes."""
    with torch.device("meta"):
        network = resnet(depth, 10)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_the_stem_keeps_the_resolution_and_three_stages_halve_it():
    with torch.device("meta"):
        *stages, _, _, _ = resnet(18, 10)
        sides, x = [], torch.empty(2, 3, 32, 32)
        for stage in stages:
            x = stage(x)
            sides.append(x.shape[-1])
    assert sides == [32] * 3 + [32] * 2 + [16] * 2 + [8] * 2 + [4] * 2


def test_channels_behind_the_first_convolution_have_rank_nine():
    """What makes the place behind the first convolution the hard one."""
    torch.manual_seed(0)
    features = small_network(10)[0].double()(torch.randn(40, 1, 8, 8, dtype=torch.float64))
    assert int(torch.linalg.matrix_rank(torch.cov(features.movedim(1, 0).flatten(1)), rtol=1e-9)) == 9
