"""Every network under every training experiment, by the command, on a few generated images."""

import csv

import pytest
from torch_cases import torch

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("typer")
pytest.importorskip("PIL")

import numpy as np
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments._networks import network, pooled_network
from experiments._options import Data, Network, Options
from experiments.pooling import _pooling as pooling_layer
from specgrad_torch.nn import CovariancePooling

SIDE = 8


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two classes with two images each, in the layout of a folder of classes."""
    root, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("left", "right"):
            (root / part / name).mkdir(parents=True)
            for k in range(2):
                pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{k}.png")
    return root


@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("stability", "alexnet"),
        ("denoising", "resnet18"),
        ("placement", "resnet50"),
        ("cifar100", "resnet101"),
        ("pooling", "alexnet"),
    ],
)
def test_the_command_trains_a_network_of_the_papers(experiment, name, images, tmp_path):
    arguments = [experiment, "--data", "folder", "--root", str(images), "--side", str(SIDE)]
    arguments += ["--network", name, "--reduced", "--epochs", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with (tmp_path / f"{experiment}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["network"] for row in rows} == {name}
    assert f"Network {name}; seed 0." in (tmp_path / f"{experiment}.md").read_text()


class Open(nn.Identity):
    """Stands for the layer under test; remembers its channels."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels


def open_layers(name):
    with torch.device("meta"):
        return [m.channels for m in network(name, 5, second=Open).modules() if isinstance(m, Open)]


def test_the_second_place_is_the_second_convolution_or_the_first_group_of_blocks():
    assert open_layers(Network.small) == [64]
    assert open_layers(Network.alexnet) == [192]
    assert open_layers(Network.resnet18) == [64] * 4
    bottleneck = [64, 64, 256]
    for name in (Network.resnet50, Network.resnet101):
        assert sorted(open_layers(name)) == sorted([*bottleneck * 3, 256])  # and the shortcut of the first


@pytest.mark.parametrize("name", Network)
def test_pooling_stands_in_place_of_the_average(name):
    with torch.device("meta"):
        pooled = pooled_network(name, 5, lambda channels: CovariancePooling(channels, reduction=8))
        features = pooled[:-3](torch.empty(2, 3, 32, 32))
        assert features.shape[1] == pooled[-3].num_features
        assert (pooled[-1].in_features, pooled[-1].out_features) == (36, 5)
        assert not any(isinstance(m, nn.AdaptiveAvgPool2d) for m in pooled.modules())


def test_what_is_trained_by_default():
    assert Options().networks == (Network.small,)
    assert Options(Data.cifar100).networks == (Network.resnet18, Network.resnet50)
    assert Options(Data.cifar10, network=Network.alexnet).networks == (Network.alexnet,)


@pytest.mark.parametrize(
    ("method", "finite"), [("exact", True), ("SVD-PI", True), ("SVD-Newton", True), ("SVD (MPN-COV)", False)]
)
def test_fewer_positions_than_channels_end_the_analytic_gradient_alone(method, finite):
    torch.manual_seed(0)
    x = torch.randn(2, 512, 4, 4, requires_grad=True)
    pooled = pooling_layer(method, 512)(x)
    pooled.square().sum().backward()
    assert pooled.shape[1] == 256 * 257 // 2
    assert bool(torch.isfinite(x.grad).all()) == finite
