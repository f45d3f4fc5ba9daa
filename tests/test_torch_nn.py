"""The whitening and denoising layers read and behave like batch normalisation."""

import copy
import inspect
import pickle

import pytest
from layer_cases import LAYERS, double, inputs
from torch_cases import torch

from specgrad import EigenvalueFloor, EnergyRatio, MaxRank, NewtonSchulz
from specgrad_torch.nn import CovariancePooling, PCADenoising, ZCAWhitening

SHAPES = [(24, 6), (8, 6, 5), (4, 6, 3, 4), (4, 6, 2, 3, 2)]

pytestmark = pytest.mark.parametrize("layer", LAYERS)


def trained(layer, *args, **options):
    module = double(layer, *args, **options)
    module(inputs())
    return module


def test_the_default_truncations(layer):
    published = {ZCAWhitening: EnergyRatio(1 - 1e-4) & EigenvalueFloor(), PCADenoising: EnergyRatio(0.95)}
    assert layer(4).truncation == published[layer]


def test_arguments_come_in_the_order_of_batch_normalisation(layer):
    def names(function):
        return list(inspect.signature(function).parameters)[:5]

    assert names(layer) == names(torch.nn.BatchNorm2d)
    module = layer(6, 1e-3, None, False, False)
    assert (module.eps, module.momentum, module.affine, module.track_running_stats) == (
        1e-3,
        None,
        False,
        False,
    )


def test_repr_names_every_choice(layer):
    text = repr(layer(6, groups=3, truncation=MaxRank(2)))
    assert text.startswith(f"{layer.__name__}(6, eps=0.0001, momentum=0.1, affine=True, bias=True")
    for choice in (
        "track_running_stats=True",
        "groups=3",
        "truncation=MaxRank(rank=2)",
        "solver=",
        "gradient=",
    ):
        assert choice in text


def test_parameters_start_as_the_identity_and_are_reset_to_it(layer):
    module = trained(layer, groups=2)
    with torch.no_grad():
        module.weight += 1.0
        module.bias += 1.0
    module.reset_running_stats()
    assert module.num_batches_tracked == 0
    assert torch.equal(module.running_mean, torch.zeros(6).double())
    assert torch.equal(module.running_matrix, torch.eye(3).double().expand(2, 3, 3))
    assert torch.equal(module.weight, torch.full((6,), 2.0).double())
    module.reset_parameters()
    assert torch.equal(module.weight, torch.ones(6).double())
    assert torch.equal(module.bias, torch.zeros(6).double())


def test_state_has_one_buffer_for_each_statistic(layer):
    module = trained(layer, groups=2)
    state = module.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_matrix", "num_batches_tracked"]
    assert list(layer(6, affine=False).state_dict()) == list(state)[2:]
    assert list(layer(6, bias=False).state_dict()) == ["weight", *list(state)[2:]]
    assert list(layer(6, track_running_stats=False).state_dict()) == ["weight", "bias"]
    other = layer(6, groups=2, dtype=torch.float64)
    other.load_state_dict(state)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("training", [True, False])
def test_without_a_bias_it_is_the_layer_whose_bias_stays_zero(layer, training):
    x = inputs().requires_grad_()
    found = []
    for options in ({"bias": False}, {}):
        module = layer(6, momentum=1.0, dtype=torch.float64, **options)
        with torch.no_grad():
            module.weight.mul_(torch.arange(1.0, 7.0))
        module(inputs())
        y = module.train(training)(x)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, module.weight))))
    torch.testing.assert_close(*found)


def test_loading_is_strict(layer):
    state = trained(layer).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch for running_matrix"):
        layer(6, groups=2).load_state_dict(state)
    del state["running_matrix"]
    with pytest.raises(RuntimeError, match=r"Missing key.*running_matrix"):
        layer(6).load_state_dict(state)


def test_a_copy_is_a_layer_of_its_own(layer):
    module = trained(layer)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == repr(module)
        before = module.running_matrix.clone()
        other(inputs(seed=1))
        assert torch.equal(module.running_matrix, before)
        assert not torch.equal(other.running_matrix, before)


def test_a_layer_moves_with_its_network(layer):
    network = torch.nn.Sequential(layer(6)).double()
    assert {t.dtype for t in network.state_dict().values()} == {torch.float64, torch.int64}
    assert network(inputs()).dtype == torch.float64
    network.to("meta")
    assert network[0].running_matrix.device.type == "meta"


def test_a_layer_takes_its_device_not_the_default(layer):
    with torch.device("meta"):
        module = layer(6, device="cpu")
        module.reset_parameters()
    assert module(inputs().float()).isfinite().all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=len)
def test_every_rank_is_samples_of_channels(layer, shape, training):
    module = trained(layer, groups=2, momentum=1.0).train(training)
    x = inputs(shape, seed=1)
    y = module(x)
    assert y.shape == x.shape
    flat = module(x.movedim(1, -1).reshape(-1, 6))
    torch.testing.assert_close(y.movedim(1, -1).reshape(-1, 6), flat)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [(SHAPES[2], torch.channels_last), (SHAPES[3], torch.channels_last_3d)],
    ids=["2d", "3d"],
)
def test_memory_format_stays(layer, shape, memory_format, training):
    module = trained(layer, momentum=1.0).train(training)
    x = inputs(shape, seed=1)
    expected, y = module(x), module(x.contiguous(memory_format=memory_format))
    assert expected.is_contiguous()
    assert y.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(y.contiguous(), expected)


@pytest.mark.parametrize("shape", [(1, 6), (0, 6), (1, 6, 1, 1), (0, 6, 2, 2), (4, 6, 0)])
def test_less_than_two_samples_are_refused_in_training_and_fine_in_evaluation(layer, shape):
    module = trained(layer)
    x = torch.ones(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"one sample or none.*give a larger batch, or call eval\(\)"):
        module(x)
    assert module.num_batches_tracked == 1
    y = module.eval()(x)
    assert y.shape == shape
    assert torch.isfinite(y).all()


def test_one_image_has_enough_samples(layer):
    x = inputs((1, 6, 6, 6))
    torch.testing.assert_close(
        layer(6, dtype=torch.float64)(x)[0].flatten(1).T, layer(6, dtype=torch.float64)(x[0].flatten(1).T)
    )


def test_input_of_the_wrong_shape_is_named(layer):
    with pytest.raises(
        ValueError, match=r"\(6\) was given an input of shape \(4, 5\).*\(N, 6, ...\) is needed"
    ):
        layer(6)(torch.ones(4, 5))
    with pytest.raises(ValueError, match=r"shape \(6,\)"):
        layer(6)(torch.ones(6))


def test_eps_is_not_negative(layer):
    for kind in (layer, CovariancePooling):
        for wrong, error in ((-1.0, ValueError), (None, TypeError), ("a", TypeError)):
            with pytest.raises(error, match=rf"{kind.__name__} needs a number of at least 0 for eps"):
                kind(6, eps=wrong)


def test_momentum_is_a_weight(layer):
    for wrong, error in ((-0.1, ValueError), (1.5, ValueError), ("a", TypeError)):
        with pytest.raises(
            error, match=rf"{layer.__name__} needs a number in \[0, 1\], or None, for momentum"
        ):
            layer(6, momentum=wrong)


def test_groups_divide_the_channels(layer):
    with pytest.raises(ValueError, match="groups=4 does not divide num_features=6"):
        layer(6, groups=4)
    with pytest.raises(ValueError, match=r"an integer of at least 1 for groups, not 2\.0"):
        layer(6, groups=2.0)
    with pytest.raises(TypeError, match="an integer of at least 1 for num_features, not '6'"):
        layer("6")


def test_frozen_values_are_arguments_of_every_layer(layer):
    """The same names, so that one can take the place of another."""
    common = {"solver", "gradient", "truncation", "device", "dtype"}
    for other in (layer, CovariancePooling):
        assert common <= inspect.signature(other).parameters.keys()
    assert layer(6, truncation=EnergyRatio(0.5)).truncation == EnergyRatio(0.5)


def test_choices_that_cannot_go_together_are_refused_before_training(layer):
    with pytest.raises(ValueError, match="computes square roots and inverse square roots"):
        layer(6, truncation=MaxRank(2), solver=NewtonSchulz())
    with pytest.raises(TypeError, match="solver is 'eigh', and a value with a method solve"):
        layer(6, solver="eigh")
    if layer is PCADenoising:
        with pytest.raises(TypeError, match="truncation is None, and a value with a method keep"):
            layer(6, truncation=None)


def test_eps_may_change_in_training(layer):
    x = inputs()
    changed = layer(6, dtype=torch.float64)
    changed.eps = 0.5
    torch.testing.assert_close(changed(x), layer(6, eps=0.5, dtype=torch.float64)(x))


@pytest.mark.parametrize("training", [True, False])
def test_integers_and_what_is_no_tensor_are_refused(layer, training):
    with pytest.raises(TypeError, match=r"dtype torch.int64.*x.float\(\)"):
        layer(6).train(training)(torch.ones(8, 6, dtype=torch.int64))
    for kind in (layer, CovariancePooling):
        with pytest.raises(TypeError, match=f"{kind.__name__} was given a builtins.list"):
            kind(6).train(training)([[1.0] * 6] * 8)
