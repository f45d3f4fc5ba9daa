"""Strides, dtypes and sizes of the input, and independence of the matrices of a batch."""

import warnings

import pytest
from torch_cases import RAGGED, gradient, loss, matrices, specgrad_torch, torch

from specgrad import EnergyRatio, ExactGap, MaxRank
from specgrad_torch.nn import CovariancePooling, ZCAWhitening

ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


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
@pytest.mark.parametrize("truncation", [None, MaxRank(2), EnergyRatio(0.9)], ids=repr)
def test_empty_and_tiny_input(shape, truncation):
    a = torch.full(shape, 3.0, dtype=torch.float64).requires_grad_()
    values, vectors = specgrad_torch.eigh(a, truncation=truncation)[:2]
    columns = min(2, shape[-1]) if truncation == MaxRank(2) else shape[-1]
    assert values.shape == (*shape[:-2], columns)
    assert vectors.shape == (*shape[:-1], columns)
    (result,) = torch.autograd.grad(values.sum() + (vectors * vectors).sum(), a)
    assert torch.equal(result, torch.ones_like(a))

    def eigenvalues(a):
        return specgrad_torch.eigh(a, truncation=truncation).eigenvalues

    _, tangent = torch.func.jvp(eigenvalues, (a.detach(),), (torch.ones_like(a),))
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


@pytest.mark.parametrize("check_finite", [True, False])
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_sparse_tensors_are_refused(layout, check_finite):
    a = torch.eye(3).to_sparse(layout=layout)
    for function in (specgrad_torch.eigh, specgrad_torch.sqrtm, specgrad_torch.covariance):
        options = {} if function is specgrad_torch.covariance else {"check_finite": check_finite}
        with pytest.raises(TypeError, match=r"layout torch.sparse_.*to_dense\(\)"):
            function(a, **options)


def test_masked_tensors_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are a prototype
        masked = torch.masked.masked_tensor(torch.eye(3), torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="a is a MaskedTensor, and a dense array is needed"):
        specgrad_torch.eigh(masked)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize(
    "layer", [ZCAWhitening(4), CovariancePooling(4)], ids=lambda layer: type(layer).__name__
)
def test_layers_refuse_what_is_not_dense(layer):
    nested = torch.nested.nested_tensor([torch.eye(4), torch.eye(4)[:2]])
    for x, remedy in ((torch.eye(4).to_sparse(), r"its to_dense\(\)"), (nested, "to_padded_tensor")):
        with pytest.raises(TypeError, match=f"{type(layer).__name__} was given a .*{remedy}"):
            layer(x)


def test_a_tensor_that_is_marked_as_negated_is_read_so():
    a = matrices(RAGGED)
    marked = torch.complex(torch.zeros_like(a), -a).conj().imag
    assert marked.is_neg()
    with torch.no_grad():
        torch.testing.assert_close(specgrad_torch.expm(marked), specgrad_torch.expm(a))
