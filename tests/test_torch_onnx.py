"""In evaluation the layers export to ONNX as plain products, and run elsewhere."""

import pytest
from torch_cases import torch

from specgrad import MaxRank, NewtonSchulz
from specgrad_torch.nn import CovariancePooling, PCADenoising, ZCAWhitening

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

# The exporter copies a value of a kind that PyTorch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

PLAIN = {"Reshape", "Transpose", "Sub", "MatMul", "Mul", "Add", "Unsqueeze", "Squeeze"}

LAYERS = {
    "whitening": (lambda: ZCAWhitening(6, groups=2), (6, 5, 5)),
    "whitening vectors": (lambda: ZCAWhitening(6, affine=False), (6,)),
    "denoising": (lambda: PCADenoising(6, truncation=MaxRank(2)), (6, 7)),
}


def exported(module, x, differentiable=True):
    batch = torch.export.Dim("batch")
    with torch.set_grad_enabled(differentiable):
        program = torch.onnx.export(module, (x,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    operations = {node.op_type for node in program.model.graph}

    def run(x):
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        return torch.from_numpy(y)

    return run, operations


@pytest.mark.parametrize("name", LAYERS)
def test_evaluation_runs_elsewhere_by_plain_products(name):
    make, shape = LAYERS[name]
    layer = make()
    generator = torch.manual_seed(0)
    for _ in range(3):
        layer(torch.randn(8, *shape, generator=generator) + 2.0)
    layer.eval()
    run, operations = exported(layer, torch.randn(4, *shape))
    assert "MatMul" in operations
    assert operations <= PLAIN
    for count in (1, 9):
        x = torch.randn(count, *shape, generator=generator)
        torch.testing.assert_close(run(x), layer(x).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("differentiable", [True, False])
def test_pooling_by_products_runs_elsewhere(differentiable):
    layer = CovariancePooling(5, solver=NewtonSchulz(15)).eval()
    run, operations = exported(layer, torch.randn(4, 5, 6, 6), differentiable)
    # Without derivatives there is nothing to keep out of the value.
    assert ("Where" in operations) is differentiable
    x = torch.randn(3, 5, 6, 6)
    torch.testing.assert_close(run(x), layer(x).detach(), atol=1e-5, rtol=1e-5)
