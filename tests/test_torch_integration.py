"""`eigh` inside PyTorch: mixed precision, checkpointing, pickling, memory, layouts, and no host synchronisation."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from torch_cases import (
    GAP_RULES,
    RAGGED,
    SEPARATED,
    TIED,
    TRUNCATIONS,
    hermitian,
    loss,
    matrices,
    specgrad_torch,
    tied_subspace_loss,
    torch,
)

import specgrad
from specgrad import (
    DenseEigh,
    DenseSVD,
    EnergyRatio,
    ExactGap,
    Fallback,
    MaskedGap,
    MaxRank,
    PowerIteration,
    RayleighMismatch,
    RoundingFloor,
)

ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


def gradient(function, a):
    return torch.autograd.grad(function(a), a)[0]


def bfloat16_autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


# Mixed precision


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32_and_its_gradient_is_half_again(half):
    a = torch.diag(torch.tensor([1.0, 2.0, 4.0])).to(half).requires_grad_()
    values, vectors = specgrad_torch.eigh(a)
    assert values.dtype == vectors.dtype == torch.float32
    (result,) = torch.autograd.grad((values * values).sum(), a)
    assert result.dtype == half
    torch.testing.assert_close(result, 2 * a)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"truncation": RayleighMismatch(tolerance=1e-4)},
        {"solver": PowerIteration(steps=5)},
        {"gap": MaskedGap(noise=RoundingFloor(eps=2**-8))},
    ],
    ids=repr,
)
def test_autocast_does_not_lower_the_precision(options):
    a = matrices(SEPARATED, torch.float32).requires_grad_()

    def forward_backward():
        values, vectors = specgrad_torch.eigh(a, **options)[:2]
        # In elementwise operations, so that the loss itself is the same.
        cotangents = (values.cos(), vectors.sin())
        return values, vectors, *torch.autograd.grad((values, vectors), a, cotangents)

    expected = forward_backward()
    with bfloat16_autocast():
        outputs = forward_backward()
    assert all(torch.equal(x, y) for x, y in zip(outputs, expected, strict=True))


def test_autocast_network_around_it_trains_in_bfloat16():
    torch.manual_seed(0)
    encoder = torch.nn.Linear(4, 4)
    x = torch.randn(64, 4)

    def subspace_loss():
        features = encoder(x)
        covariance = hermitian(features.mT @ features)
        gap = MaskedGap(noise=RoundingFloor(eps=2**-8))
        _, vectors, _ = specgrad_torch.eigh(covariance, gap=gap, truncation=MaxRank(2))
        return covariance.dtype, 1 - (vectors[0] @ vectors[0])

    _, expected = subspace_loss()
    (expected_gradient,) = torch.autograd.grad(expected, encoder.weight)
    with bfloat16_autocast():
        dtype, value = subspace_loss()
    (result,) = torch.autograd.grad(value, encoder.weight)
    assert dtype == torch.bfloat16
    size = expected_gradient.norm()
    assert size > 0
    assert (result - expected_gradient).norm() <= 16 * 2**-8 * size


def test_rounding_floor_of_bfloat16_removes_the_noise_of_bfloat16_cotangents():
    # A tie broken by 1e-4, and a subspace loss whose cotangent went through bfloat16.
    a = matrices((1.0, 1.0001, 5.0), torch.float32).requires_grad_()

    def size_of_gradient(noise):
        values, vectors = specgrad_torch.eigh(a, gap=MaskedGap(noise=noise))
        kept = vectors[:, :2]
        cotangent = (torch.tensor([[3.0], [1.0], [2.0]]) * kept).bfloat16().float()
        cotangent = kept @ hermitian(kept.mT @ cotangent)  # inside the subspace, where no loss has a gradient
        cotangent = cotangent.bfloat16().float()
        padded = torch.cat([cotangent, torch.zeros(3, 1)], dim=1)
        return float(torch.autograd.grad(vectors, a, padded)[0].norm())

    assert size_of_gradient(RoundingFloor()) > 1.0
    assert size_of_gradient(RoundingFloor(eps=2**-8)) < 0.1


# Checkpointing, pickling, copying


@dataclasses.dataclass(frozen=True)
class Counted:
    """A solver that counts its calls."""

    calls = []  # noqa: RUF012

    def solve(self, a):
        self.calls.append(a.shape)
        return DenseEigh().solve(a)


def test_activation_checkpointing_computes_again_and_gives_the_same_gradient():
    a = matrices(RAGGED).requires_grad_()
    expected = gradient(loss, a)
    Counted.calls.clear()
    value = torch.utils.checkpoint.checkpoint(lambda a: loss(a, solver=Counted()), a, use_reentrant=False)
    assert len(Counted.calls) == 1
    assert torch.equal(torch.autograd.grad(value, a)[0], expected)
    assert len(Counted.calls) == 2


FROZEN = (
    *GAP_RULES,
    *TRUNCATIONS,
    RoundingFloor(eps=2**-8),
    DenseEigh(),
    DenseSVD(),
    Fallback(DenseEigh(), DenseSVD()),
    PowerIteration(steps=3),
    specgrad.WarnGauge(),
    specgrad.RaiseGauge(),
    specgrad.ProjectGauge(),
    specgrad.DaleckiiKrein(),
    specgrad.ThroughEigenvectors(ExactGap()),
    specgrad.Sqrt(),
    specgrad.InverseSqrt(),
    specgrad.Power(0.3),
    specgrad.Log(),
    specgrad.Exp(),
    specgrad.FromDerivative(np.sin, np.cos),
)


def test_every_public_frozen_value_is_in_the_list():
    public = {vars(specgrad)[name] for name in specgrad.__all__}
    assert {x for x in public if dataclasses.is_dataclass(x)} <= {type(x) for x in FROZEN}


@pytest.mark.parametrize("value", FROZEN, ids=repr)
def test_frozen_values_survive_pickling_and_copying(value):
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert again == value
        assert hash(again) == hash(value)
        assert repr(again) == repr(value)


class Subspace(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(1.0, 2.0, 4, dtype=torch.float64))
        self.options = {"gap": MaskedGap(), "truncation": EnergyRatio(0.9), "solver": DenseEigh()}

    def forward(self, a):
        return loss(self.weight[:, None] * a * self.weight, **self.options)


@pytest.mark.parametrize("again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_module_that_holds_choices_survives_pickling_and_copying(again):
    module, a = Subspace(), matrices(RAGGED)
    twin = again(module)
    assert twin.options == module.options
    module(a).backward()
    twin(a).backward()
    assert torch.equal(twin.weight.grad, module.weight.grad)


# Memory and the graph


@pytest.mark.parametrize("truncation", [None, *TRUNCATIONS], ids=repr)
def test_inputs_and_outputs_are_all_that_is_saved_for_backward(truncation):
    a = matrices(RAGGED).requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        outputs = specgrad_torch.eigh(a, truncation=truncation)
    whole = [x for x in saved if x.shape == a.shape]
    matrices_put_out = 1 if truncation is None or isinstance(truncation, MaxRank) else 2
    assert sum(x.data_ptr() == a.data_ptr() for x in whole) == 1
    assert len(whole) == 1 + matrices_put_out
    for output in outputs:
        assert any(x.data_ptr() == output.data_ptr() for x in saved)
    kept_aside = vars(outputs.eigenvectors.grad_fn).values()
    assert not any(isinstance(x, torch.Tensor) for x in kept_aside)


@pytest.mark.parametrize("check_finite", [True, False])
def test_validation_leaves_one_operation_in_the_graph(check_finite):
    a = matrices(RAGGED).requires_grad_()
    values, vectors = specgrad_torch.eigh(a, check_finite=check_finite)
    assert values.grad_fn is vectors.grad_fn
    (leaf,) = [node for node, _ in values.grad_fn.next_functions if node is not None]
    assert leaf.variable is a


def test_without_gradients_there_is_no_graph():
    a = matrices(RAGGED)
    assert specgrad_torch.eigh(a).eigenvalues.grad_fn is None
    with torch.no_grad():
        assert specgrad_torch.eigh(a.requires_grad_()).eigenvalues.grad_fn is None
    assert specgrad_torch.eigh(a.detach()).eigenvalues.grad_fn is None


def test_output_that_is_not_used_costs_no_gap():
    # A zero cotangent of the eigenvectors times an infinite 1/gap would be NaN.
    a = TIED.clone().requires_grad_()
    values, _ = specgrad_torch.eigh(a, gap=ExactGap())
    torch.testing.assert_close(gradient(lambda _: (values * values).sum(), a), 2 * TIED, **ROUNDING)


# Layouts and sizes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128], ids=str)
def test_gradient_has_the_dtype_of_the_input(dtype):
    a = matrices(RAGGED, dtype).requires_grad_()
    result = gradient(loss, a)
    assert result.dtype == dtype
    expected = gradient(loss, a.detach().to(torch.promote_types(dtype, torch.float64)).requires_grad_())
    unit = 100 * torch.finfo(dtype).eps * expected.abs().max().item()
    torch.testing.assert_close(result.to(expected.dtype), expected, atol=unit, rtol=0)


LAYOUTS = {
    "transposed": lambda a: a.mT,
    "batch last": lambda a: a.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "every other": lambda a: torch.stack([a, -a], dim=1).flatten(0, 1)[::2],
    "inside a larger one": lambda a: torch.nn.functional.pad(a, (1, 1, 1, 1))[:, 1:-1, 1:-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_does_not_matter(layout):
    a = matrices(RAGGED)
    strided = LAYOUTS[layout](a).requires_grad_()
    expected = gradient(loss, a.requires_grad_())
    torch.testing.assert_close(gradient(loss, strided), expected, **ROUNDING)


def test_expanded_input_collects_the_gradients_of_its_copies():
    a = matrices(RAGGED[0]).requires_grad_()
    expected = 3 * gradient(loss, a)
    torch.testing.assert_close(gradient(lambda a: loss(a.expand(3, 4, 4)), a), expected, **ROUNDING)


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3, 3), (0, 0), (2, 0, 0), (1, 1), (2, 1, 1)])
@pytest.mark.parametrize("options", [{}, {"truncation": MaxRank(2)}, {"truncation": EnergyRatio(0.9)}], ids=repr)
def test_empty_and_tiny_input(shape, options):
    a = torch.full(shape, 3.0, dtype=torch.float64).requires_grad_()
    values, vectors = specgrad_torch.eigh(a, **options)[:2]
    columns = min(2, shape[-1]) if options.get("truncation") == MaxRank(2) else shape[-1]
    assert values.shape == (*shape[:-2], columns)
    assert vectors.shape == (*shape[:-1], columns)
    (result,) = torch.autograd.grad(values.sum() + (vectors * vectors).sum(), a)
    assert torch.equal(result, torch.ones_like(a))
    tangent = torch.func.jvp(lambda a: specgrad_torch.eigh(a, **options)[0], (a,), (torch.ones_like(a),))[1]
    assert torch.equal(tangent, torch.ones_like(values))


@pytest.mark.parametrize("options", [{}, {"truncation": EnergyRatio(0.9)}, {"gap": ExactGap()}], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_gradient_of_a_matrix_does_not_depend_on_its_neighbours(options, dtype):
    first, second = matrices(RAGGED, dtype)

    def gradient_of_first(neighbour):
        batch = torch.stack([first, neighbour, first]).requires_grad_()
        result = gradient(lambda a: loss(a, check_finite=False, **options), batch)
        assert torch.equal(result[0], result[2])
        return result[0]

    expected = gradient_of_first(second)
    assert expected.isfinite().all()
    for neighbour in (torch.full_like(second, torch.nan), 1e30 * second, 1e-30 * second):
        assert torch.equal(gradient_of_first(neighbour), expected)


def test_nan_stays_in_its_own_matrix_and_its_own_gradient():
    batch = matrices(RAGGED)
    batch[1, 0, 0] = torch.nan
    values, _ = specgrad_torch.eigh(batch.requires_grad_(), check_finite=False)
    assert values[0].isfinite().all()
    assert values[1].isnan().all()
    assert gradient(lambda a: loss(a, check_finite=False), batch)[1].isnan().any()


# Host synchronisation: a stand-in tensor has no values, so whatever looks at them is seen


@pytest.fixture(params=["fake", "meta"])
def without_values(request):
    """Matrices with a shape and a dtype and no values: as a compiler sees them, and on a device away from the host."""
    with torch._subclasses.fake_tensor.FakeTensorMode() if request.param == "fake" else torch.device("meta"):
        yield torch.empty(2, 4, 4, dtype=torch.float64)


@pytest.fixture
def looks(monkeypatch):
    """The calls that look at a value of a tensor."""
    calls = []
    for name in ("__bool__", "__int__", "__float__", "__index__", "item", "tolist", "nonzero", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, _counted(name, getattr(torch.Tensor, name), calls))
    return calls


def _counted(name, original, calls):
    def method(self, *args, **options):
        calls.append(name)
        return original(self, *args, **options)

    return method


OPTIONS = (
    *({"gap": gap} for gap in GAP_RULES),
    *({"truncation": truncation} for truncation in TRUNCATIONS),
    *({"solver": solver} for solver in (DenseSVD(), Fallback(DenseEigh(), DenseSVD()), PowerIteration(2))),
    *({"gauge": gauge} for gauge in (specgrad.RaiseGauge(), specgrad.ProjectGauge())),
)


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_no_derivative_looks_at_values(without_values, looks, options):
    def function(a):
        return loss(a, **options)

    a = without_values
    assert gradient(function, a.clone().requires_grad_()).shape == a.shape
    assert torch.func.grad(function)(a).shape == a.shape
    assert torch.func.jvp(function, (a,), (a,))[1].shape == ()
    assert looks == []


def test_looking_at_values_is_seen_by_these_tests(without_values, looks):
    with pytest.raises(Exception, match=r"data-dependent|_local_scalar_dense|[Mm]eta"):
        bool(without_values.isnan().any())
    assert "__bool__" in looks


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("options", [{}, {"truncation": EnergyRatio(0.9)}, {"gap": ExactGap()}], ids=repr)
def test_no_derivative_waits_for_the_gpu(options):
    a = matrices(RAGGED).cuda().requires_grad_()
    value = loss(a, **options)  # the solvers of CUDA themselves wait, to see whether they have converged
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = gradient(lambda _: value, a)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = gradient(lambda a: loss(a, **options), a.detach().cpu().requires_grad_())
    torch.testing.assert_close(result.cpu(), expected, **ROUNDING)
