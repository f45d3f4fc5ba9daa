"""What `eigh` keeps for backward, what it leaves in the graph, and that it never waits for a device."""

import gc
import weakref
from dataclasses import dataclass
from functools import partial

import pytest
from torch_cases import GAP_RULES, RAGGED, TIED, TRUNCATIONS, gradient, loss, matrices, specgrad_torch, torch

from specgrad import (
    BroadenedGap,
    DenseEigh,
    DenseSVD,
    EnergyRatio,
    ExactGap,
    Fallback,
    MaxRank,
    PowerIteration,
    ProjectGauge,
    RaiseGauge,
)
from specgrad_torch import _bind
from specgrad_torch._bind import TorchBinding
from specgrad_torch.nn import ZCAWhitening

ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


def saved_for_backward(function, *arrays, **options):
    """What is saved, and the outputs."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        return saved, function(*arrays, **options)


@pytest.mark.parametrize("truncation", [None, *TRUNCATIONS], ids=repr)
def test_outputs_are_all_that_is_saved_for_backward(truncation):
    a = matrices(RAGGED).requires_grad_()
    saved, outputs = saved_for_backward(specgrad_torch.eigh, a, truncation=truncation)
    whole = [x for x in saved if x.shape == a.shape]
    matrices_put_out = 1 if truncation is None or isinstance(truncation, MaxRank) else 2
    assert not any(x.data_ptr() == a.data_ptr() for x in whole)
    assert len(whole) == matrices_put_out
    for output in outputs:
        assert any(x.data_ptr() == output.data_ptr() for x in saved)
    kept_aside = vars(outputs.eigenvectors.grad_fn).values()
    assert not any(isinstance(x, torch.Tensor) for x in kept_aside)


def test_a_decomposition_in_a_metric_saves_its_outputs_alone():
    a, b = matrices(RAGGED).requires_grad_(), matrices(RAGGED)
    b = (torch.eye(a.shape[-1], dtype=a.dtype) + b @ b).requires_grad_()
    saved, outputs = saved_for_backward(specgrad_torch.generalised_eigh, a, b)
    assert [x.shape for x in saved if x.shape == a.shape] == [outputs.eigenvectors.shape]
    total = outputs.eigenvalues.sum() + outputs.eigenvectors.abs().sum()
    before = torch.autograd.grad(total, (a, b), retain_graph=True)
    with torch.no_grad():
        a.mul_(2)
        b.mul_(2)  # as by an optimiser before the backward pass
    assert all(map(torch.equal, before, torch.autograd.grad(total, (a, b))))


def test_under_vmap_what_no_derivative_reads_is_not_saved_either():
    a = matrices(RAGGED).requires_grad_()
    root = partial(specgrad_torch.sqrtm, check_finite=False)
    batched, mapped = (saved_for_backward(function, a)[0] for function in (root, torch.func.vmap(root)))
    assert [x.shape for x in mapped] == [x.shape for x in batched]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_memory_of_the_user_can_still_be_resized(dtype):
    """As that of parameters is where a model is sharded."""
    layer = ZCAWhitening(4)
    x = torch.randn(9, 4, generator=torch.manual_seed(0), requires_grad=True)
    a = matrices(RAGGED).to(dtype).requires_grad_()
    given = [a, x, *layer.parameters()]
    for output in (*specgrad_torch.eigh(a), specgrad_torch.logm(a), layer(x)):
        given.append(torch.ones_like(output))
        output.backward(given[-1], retain_graph=True)
    for tensor in given:
        assert tensor.untyped_storage().resizable()


@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_slice_holds_no_more_memory_than_its_own(requires_grad):
    a = torch.eye(5, requires_grad=requires_grad)
    for output in specgrad_torch.eigh(a, truncation=MaxRank(2)):
        assert output.untyped_storage().nbytes() == output.nbytes


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
    torch.testing.assert_close(torch.autograd.grad((values * values).sum(), a)[0], 2 * TIED, **ROUNDING)


@pytest.fixture(params=["fake", "meta"])
def without_values(request):
    """Matrices with a shape and no values: as a compiler sees them, and as on a device away from the host."""
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
    *({"gauge": gauge} for gauge in (RaiseGauge(), ProjectGauge())),
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
        result = torch.autograd.grad(value, a)[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = gradient(lambda a: loss(a, **options), a.detach().cpu().requires_grad_())
    torch.testing.assert_close(result.cpu(), expected, **ROUNDING)


@dataclass(eq=False)
class Holding:
    """A gap rule of a user, with what cannot be a key of a dictionary."""

    width: list

    def matrix(self, values):
        return BroadenedGap(*self.width).matrix(values)

    def bound(self, values):
        return BroadenedGap(*self.width).bound(values)


@dataclass
class WithoutHash(Holding):
    """The same with equality and, as it may change, no hash."""


def primitives_of(monkeypatch, *options):
    """What `eigh` applies with each of the options."""
    applied = []
    original = TorchBinding.apply
    monkeypatch.setattr(
        TorchBinding,
        "apply",
        lambda self, primitive, a: applied.append(primitive) or original(self, primitive, a),
    )
    for option in options:
        specgrad_torch.eigh(matrices(RAGGED), **option)
    return applied


def test_a_primitive_is_built_once_for_equal_choices(monkeypatch):
    first, second, other = primitives_of(
        monkeypatch, {"gap": BroadenedGap(0.5)}, {"gap": BroadenedGap(0.5)}, {"gap": BroadenedGap(0.25)}
    )
    assert first is second
    assert other.gap == BroadenedGap(0.25)


def test_many_choices_do_not_pile_up(monkeypatch):
    options = [{"gap": BroadenedGap(width / 1000)} for width in range(1, 400)]
    for option, primitive in zip(options, primitives_of(monkeypatch, *options), strict=True):
        assert primitive.gap == option["gap"]
    assert len(_bind._BUILT) <= _bind._MOST


@pytest.mark.parametrize("kind", [Holding, WithoutHash])
def test_values_of_a_user_are_let_go(kind):
    rule = kind([0.5])
    for width in (0.5, 0.01):
        rule.width = [width]  # what was built before is not used for what has changed
        found, expected = (
            gradient(partial(loss, gap=gap), matrices(RAGGED)) for gap in (rule, BroadenedGap(width))
        )
        torch.testing.assert_close(found, expected, **ROUNDING)
    watched = weakref.ref(rule)
    del rule
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("function", ["zca_whiten", "pca_denoise"])
def test_data_may_be_overwritten_once_they_are_filtered(function):
    x = torch.randn(3, 20, dtype=torch.float64, generator=torch.manual_seed(0), requires_grad=True)
    found = []
    for overwritten in (False, True):
        data = 2 * x
        filtered = getattr(specgrad_torch, function)(data, truncation=MaxRank(2))[0]
        if overwritten:
            data.zero_()
        found += torch.autograd.grad(filtered.pow(3).sum(), x)
    torch.testing.assert_close(*found, **ROUNDING)
