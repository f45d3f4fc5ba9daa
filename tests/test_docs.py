"""The documentation says what is true: its code runs, and its reference is complete.

Executed cells run when the site is built, by ``make docs``; here the plain ``python`` blocks run, which
need more than NumPy.
"""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from backends import required

import specgrad

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DOCUMENTED = re.compile(r"^\.\. auto\w+:: specgrad\.(\w+)$", re.MULTILINE)

BLOCKS = {
    page.relative_to(DOCS).as_posix(): blocks
    for page in sorted(DOCS.glob("**/*.md"))
    if "_build" not in page.parts and (blocks := BLOCK.findall(page.read_text()))
}


def imports(code):
    """The libraries that a block imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("page", BLOCKS)
def test_code_runs(page):
    namespace = {"__name__": "__main__"}
    for code in BLOCKS[page]:
        missing = [name for name in imports(code) if importlib.util.find_spec(name) is None]
        if missing and required().isdisjoint(missing):
            pytest.skip(f"{' and '.join(missing)} is not installed")
        exec(compile(code, f"docs/{page}", "exec"), namespace)


def test_code_is_found():
    assert {"start.md", "pytorch.md"} <= BLOCKS.keys()


def test_reference_is_complete():
    documented = {name for page in DOCS.glob("api/*.md") for name in DOCUMENTED.findall(page.read_text())}
    assert set(specgrad.__all__) == documented


def test_reference_of_the_layers_is_complete():
    layers = pytest.importorskip("torch") and importlib.import_module("specgrad_torch.nn")
    listed = re.findall(
        r"^\.\. auto\w+:: specgrad_torch\.nn\.(\w+)$", (DOCS / "api/layers.md").read_text(), re.M
    )
    assert sorted(listed) == sorted(layers.__all__)


def test_reference_of_the_gpu_is_complete():
    # Read, as it cannot be imported everywhere.
    source = (DOCS.parent / "specgrad_cupy/__init__.py").read_text()
    listed = re.findall(r"^\.\. autoclass:: specgrad_cupy\.(\w+)$", (DOCS / "api/gpu.md").read_text(), re.M)
    assert sorted(listed) == sorted(re.findall(r'^    "([A-Z]\w+)",$', source, re.M))
