"""Two processes with parts of a batch, of unequal size, match one process with the whole of it."""

import datetime
import warnings

import pytest
from torch_cases import torch

from specgrad import MaxRank, NewtonSchulz
from specgrad_torch.nn import PCADenoising, ZCAWhitening, convert_sync_whitening

if not torch.distributed.is_available():
    pytest.skip("this PyTorch has no torch.distributed", allow_module_level=True)

CHANNELS = 6
MATCH = {"atol": 1e-10, "rtol": 1e-10}
PATIENCE = datetime.timedelta(seconds=60)

LAYERS = {
    "whitening": lambda: ZCAWhitening(CHANNELS, momentum=None, dtype=torch.float64),
    "whitening in groups": lambda: ZCAWhitening(
        CHANNELS, groups=2, truncation=MaxRank(2), dtype=torch.float64
    ),
    "whitening by products": lambda: ZCAWhitening(
        CHANNELS, truncation=None, solver=NewtonSchulz(12), dtype=torch.float64
    ),
    "denoising": lambda: PCADenoising(CHANNELS, groups=2, truncation=MaxRank(2), dtype=torch.float64),
    "denoising by energy": lambda: PCADenoising(CHANNELS, momentum=None, dtype=torch.float64),
}
# Positions, and how many samples each of the two processes has.
BATCHES = {
    "positions": ((3, 2), (3, 5)),
    "vectors": ((), (19, 1)),
    "an empty part": ((4,), (0, 7)),
}
CASES = [(layer, batch) for layer in LAYERS for batch in BATCHES]


def network(layer):
    """Two of the layer, so that a gradient passes through statistics of a batch that is spread."""
    modules = torch.nn.Sequential(LAYERS[layer](), torch.nn.Tanh(), LAYERS[layer]())
    generator = torch.manual_seed(5)
    for parameter in modules.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    return modules


def whole(batch):
    """The samples of both processes, and what weighs the outputs in the loss."""
    positions, counts = BATCHES[batch]
    generator = torch.manual_seed(7)
    shape = (sum(counts), CHANNELS, *positions)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    spread = torch.linspace(0.5, 2.0, CHANNELS, dtype=torch.float64).reshape(-1, *(1,) * len(positions))
    x = spread * (x + 0.5 * x.flip(1)) + 100.0
    return x, torch.randn(shape, generator=generator, dtype=torch.float64)


def part(batch, rank):
    counts = BATCHES[batch][1]
    start = sum(counts[:rank])
    return [tensor[start : start + counts[rank]] for tensor in whole(batch)]


def step(modules, x, pattern):
    """Output, gradients and running statistics of a training step."""
    x = x.clone().requires_grad_()
    y = modules(x)
    (y * pattern).sum().backward()
    parameters = [parameter.grad for parameter in modules.parameters()]
    statistics = [buffer.clone() for buffer in modules.buffers()]
    return y.detach(), x.grad, parameters, statistics


def process(rank, folder):
    """What each of the two processes does; the tests look at what it leaves in the folder."""
    torch.set_num_threads(1)
    warnings.simplefilter("error", FutureWarning)  # as pytest's filters do not reach here
    store = torch.distributed.FileStore(str(folder / "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=PATIENCE)
    results = {}
    for layer, batch in CASES:
        modules = convert_sync_whitening(network(layer))
        results[layer, batch] = step(modules, *part(batch, rank))
        parallel = torch.nn.parallel.DistributedDataParallel(modules)
        modules.zero_grad()
        for module in modules[::2]:
            module.reset_running_stats()
        results[layer, batch, "parallel"] = step(parallel, *part(batch, rank))
    groups = {"alone": torch.distributed.new_group([0]), "both": torch.distributed.group.WORLD}
    for name, group in groups.items():
        if rank == 0 or name == "both":
            modules = convert_sync_whitening(network("whitening"), group)
            results[name] = step(modules, *part("positions", rank))
    if rank == 0:  # the other one is not there to take part
        modules = convert_sync_whitening(ZCAWhitening(CHANNELS, track_running_stats=False)).eval()
        results["evaluation"] = modules(part("positions", rank)[0].float())
    modules = convert_sync_whitening(ZCAWhitening(CHANNELS))
    with torch.autocast("cpu", torch.bfloat16):
        results["autocast"] = modules(part("positions", rank)[0].float()).detach()
    for layer in ("whitening", "denoising"):
        modules = convert_sync_whitening(network(layer), torch.distributed.group.WORLD)
        compiled = torch.compile(modules, backend="aot_eager", fullgraph=True)
        results[layer, "compiled"] = step(compiled, *part("positions", rank))
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The results of both processes."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("layer", LAYERS)
def test_two_processes_match_one_on_the_joined_batch(two, layer, batch):
    y, g_x, parameters, statistics = step(network(layer), *whole(batch))
    first, second = (results[layer, batch] for results in two)
    torch.testing.assert_close(torch.cat([first[0], second[0]]), y, **MATCH)
    torch.testing.assert_close(torch.cat([first[1], second[1]]), g_x, **MATCH)
    for one, other, expected in zip(first[2], second[2], parameters, strict=True):
        torch.testing.assert_close(one + other, expected, **MATCH)
    for one, other, expected in zip(first[3], second[3], statistics, strict=True):
        torch.testing.assert_close(one, expected, **MATCH)
        torch.testing.assert_close(other, expected, **MATCH)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("layer", LAYERS)
def test_distributed_data_parallel_averages_the_same_gradients(two, layer, batch):
    y, _, parameters, statistics = step(network(layer), *whole(batch))
    results = [each[layer, batch, "parallel"] for each in two]
    torch.testing.assert_close(torch.cat([each[0] for each in results]), y, **MATCH)
    for each in results:
        for measured, expected in zip(each[2], parameters, strict=True):
            torch.testing.assert_close(2 * measured, expected, **MATCH)
        for measured, expected in zip(each[3], statistics, strict=True):
            torch.testing.assert_close(measured, expected, **MATCH)


def test_without_conversion_each_process_has_its_own_statistics(two):
    """The other way round: the test above would see it if nothing were synchronised."""
    alone = step(network("whitening"), *part("positions", 0))
    assert (alone[0] - two[0]["whitening", "positions"][0]).abs().max() > 0.1


def test_a_process_group_says_who_takes_part(two):
    alone = step(network("whitening"), *part("positions", 0))
    torch.testing.assert_close(two[0]["alone"][0], alone[0], **MATCH)
    for results in two:
        torch.testing.assert_close(results["both"], results["whitening", "positions"], **MATCH)


@pytest.mark.parametrize("layer", ["whitening", "denoising"])
def test_compilation_in_one_graph(two, layer):
    for results in two:
        torch.testing.assert_close(results[layer, "compiled"], results[layer, "positions"], **MATCH)


def test_autocast_lowers_no_statistics(two):
    joined = ZCAWhitening(CHANNELS)(whole("positions")[0].float())
    found = torch.cat([results["autocast"] for results in two])
    torch.testing.assert_close(found, joined.detach(), atol=1e-3, rtol=0)


def test_evaluation_waits_for_nobody(two):
    x = part("positions", 0)[0].float()
    expected = ZCAWhitening(CHANNELS, track_running_stats=False)(x)
    torch.testing.assert_close(two[0]["evaluation"], expected)
