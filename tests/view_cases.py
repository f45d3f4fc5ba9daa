"""What the tests of the evaluation on NumPy's views share. Without PyTorch they skip."""

from torch_cases import torch

from specgrad_torch import _views


class Watching(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts operations, which are then PyTorch's."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations.append(str(function))
        return function(*args, **(kwargs or {}))


def one_thread(monkeypatch):
    """A fixture: PyTorch on one thread, in a process that was started on one."""
    monkeypatch.setattr(_views, "_STARTED_ON_ONE_THREAD", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def several_threads(monkeypatch):
    monkeypatch.setattr(_views, "_STARTED_ON_ONE_THREAD", False)


def outputs_and_gradients(function, *inputs):
    """All outputs, and the gradients of a weighted sum of those that have any."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weighted = (torch.arange(y.numel()).reshape(y.shape).cos() * y for y in outputs if y.requires_grad)
    total = sum(product.sum() for product in weighted)
    return [y.detach() for y in outputs], torch.autograd.grad(total, inputs)
