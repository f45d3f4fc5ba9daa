"""In evaluation the layers export to ONNX as plain products, and run elsewhere."""

import pytest
from torch_cases import torch

from specgrad import MaxRank
from specgrad_torch.nn import PCADenoising, ZCAWhitening

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


def exported(module, x):
    batch = torch.export.Dim("batch")
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
