"""The layers under `torch.compile` and `torch.export`, without values; how many decompositions they make."""

import io
import subprocess
import sys
import warnings
from dataclasses import dataclass

import pytest
from torch_cases import torch

from specgrad import AcceptResidual, DenseEigh, MaxRank, NewtonSchulz
from specgrad_torch.nn import CovariancePooling, HybridProtocol, PCADenoising, ZCAWhitening

LAYERS = {
    "whitening": lambda **options: ZCAWhitening(6, groups=2, **options),
    "whitening by products": lambda **options: ZCAWhitening(
        6, truncation=None, solver=NewtonSchulz(5, AcceptResidual()), **options
    ),
    "denoising": lambda **options: PCADenoising(6, groups=2, truncation=MaxRank(2), **options),
    "denoising by energy": lambda **options: PCADenoising(6, **options),
    "pooling": lambda **options: CovariancePooling(6, reduction=3, eps=1e-3, **options),
}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def inputs(seed=0, dtype=torch.float64):
    generator = torch.manual_seed(seed)
    spread = torch.linspace(1.0, 3.0, 6).reshape(6, 1, 1)
    return (spread * torch.randn(4, 6, 3, 3, generator=generator) + 1.0).to(dtype)


def output_and_gradient(function, x):
    x = x.clone().requires_grad_()
    y = function(x)
    pattern = torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape).sin()
    return y.detach(), torch.autograd.grad((pattern * y).sum(), x)[0]


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_equals_eager_in_training_and_evaluation(name):
    torch.manual_seed(0)
    eager = LAYERS[name](dtype=torch.float64)
    compiled = LAYERS[name](dtype=torch.float64)
    compiled.load_state_dict(eager.state_dict())
    function = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for training in (True, False):
        eager.train(training)
        compiled.train(training)
        for seed in (1, 2):
            measured = output_and_gradient(function, inputs(seed))
            for one, other in zip(measured, output_and_gradient(eager, inputs(seed)), strict=True):
                torch.testing.assert_close(one, other)
        for key, tensor in eager.state_dict().items():
            torch.testing.assert_close(compiled.state_dict()[key], tensor)
    counts = [tensor for key, tensor in compiled.state_dict().items() if key.endswith("batches_tracked")]
    assert counts == [2]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_compiled_where_the_user_has_set_a_device(name, training):
    layer = LAYERS[name]().train(training)
    with torch.device("cpu"):
        y = torch.compile(layer, fullgraph=True, backend="aot_eager")(inputs(dtype=torch.float32))
    assert y.isfinite().all()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_exported_saved_and_loaded_equals_eager(name, training, strict):
    torch.manual_seed(0)
    module = LAYERS[name](dtype=torch.float64).train(training)
    with warnings.catch_warnings():
        # array_api_compat caches the namespace of a type, which never changes.
        warnings.filterwarnings("ignore", message=r".*`functools.lru_cache`-wrapped", category=UserWarning)
        program = torch.export.export(module, (inputs(),), strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for one, other in zip(
        output_and_gradient(loaded, inputs(1)), output_and_gradient(module, inputs(1)), strict=True
    ):
        torch.testing.assert_close(one, other)
    for key, tensor in loaded.state_dict().items():  # without those that the program does not need
        torch.testing.assert_close(module.state_dict()[key], tensor)


def test_compiled_layer_follows_the_hybrid_protocol():
    layer = CovariancePooling(6, solver=NewtonSchulz(3, AcceptResidual()), dtype=torch.float64)
    protocol = HybridProtocol(layer, 1)
    function = torch.compile(layer, fullgraph=True, backend="aot_eager")
    before = function(inputs())
    protocol.step()
    exact = CovariancePooling(6)(inputs())
    torch.testing.assert_close(function(inputs()), exact)
    assert (before - exact).abs().max() > 1e-3


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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("name", LAYERS)
def test_neither_forward_nor_backward_looks_at_a_value(name, momentum, training, looks):
    with torch._subclasses.fake_tensor.FakeTensorMode():
        module = LAYERS[name]() if name == "pooling" else LAYERS[name](momentum=momentum)
        module.train(training)
        x = torch.empty(4, 6, 3, 3, requires_grad=True)
        module(x).sum().backward()
        assert x.grad.shape == x.shape
        assert all(parameter.grad is not None for parameter in module.parameters())
    assert looks == []


SHAPES = []


@dataclass(frozen=True)
class Recording:
    """`DenseEigh`, which writes down the shapes that it is given."""

    def solve(self, a):
        SHAPES.append(tuple(a.shape))
        return DenseEigh().solve(a)


class Operations(torch.utils._python_dispatch.TorchDispatchMode):
    """The operations on tensors while it is active, and the shapes that they give."""

    def __init__(self):
        super().__init__()
        self.names, self.shapes = [], set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        output = operation(*args, **(kwargs or {}))
        self.names.append(str(operation))
        outputs = output if isinstance(output, tuple | list) else (output,)
        self.shapes |= {tuple(x.shape) for x in outputs if isinstance(x, torch.Tensor)}
        return output


def work(layer, groups):
    """The operations of a training step of 12 channels."""
    module = layer(12, groups=groups, solver=Recording())
    x = torch.randn(5, 12, 7, generator=torch.manual_seed(0)).requires_grad_()
    SHAPES.clear()
    with Operations() as operations:
        module(x).sum().backward()
    return operations


@pytest.mark.parametrize("layer", [ZCAWhitening, PCADenoising])
def test_groups_are_one_decomposition_of_the_diagonal_blocks_without_a_loop(layer):
    four = work(layer, 4)
    assert SHAPES == [(4, 3, 3)]
    # The covariance of all channels is nowhere.
    assert (4, 3, 3) in four.shapes
    assert not any(shape[-2:] == (12, 12) for shape in four.shapes)
    three = work(layer, 3)
    assert SHAPES == [(3, 4, 4)]
    assert four.names == three.names


@pytest.mark.parametrize("layer", [ZCAWhitening, PCADenoising])
def test_evaluation_decomposes_nothing(layer):
    module = layer(12, groups=4, solver=Recording()).eval()
    SHAPES.clear()
    module(torch.randn(5, 12, 7))
    assert SHAPES == []


@pytest.mark.parametrize("before", ["", "specgrad.eigh(array_api_strict.eye(2))"])
def test_a_layer_is_compiled_before_anything_else_has_run(before):
    """What is looked up once for a type of arrays, the compiler can neither follow nor write."""
    code = (
        "import array_api_strict, torch\n"
        "import specgrad\n"
        "from specgrad_torch.nn import ZCAWhitening\n"
        f"{before}\n"
        "layer = torch.compile(ZCAWhitening(3), fullgraph=True, backend='eager')\n"
        "assert layer(torch.randn(8, 3)).isfinite().all()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
