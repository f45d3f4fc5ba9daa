"""How the modules hang together: floors, circles, forbidden names, exports, docstrings and their examples."""

import ast
import doctest
import importlib
import inspect
import itertools
from pathlib import Path

import pytest

import specgrad

ROOT = Path(__file__).parents[1]
PACKAGES = tuple(sorted(path.parent.name for path in ROOT.glob("specgrad*/__init__.py")))
BACKENDS = {"torch", "cupy", "jax", "cupyx", "jaxlib"}
EXTRAS = BACKENDS | {"typer", "rich", "matplotlib", "sklearn", "scipy", "hypothesis", "mpmath"}

# A module or package of specgrad imports from lower floors, and from itself, only.
FLOORS = (
    {"_typing", "_require", "portable"},
    {"_bare"},
    {"_namespace", "results", "planning"},
    {"_array", "_places"},
    {"_forms", "_warn", "leading"},
    {"bind", "divided_differences", "domains", "gaps", "truncation"},
    {"objections", "power_differences"},
    {"bounded_functions", "functions", "gauge"},
    {"composed_functions"},
    {"derivatives", "validation"},
    {"samples", "solvers"},
    {"gradients"},
    {"primitives"},
    {"decompositions", "generalised", "method", "transforms"},
    {"matrix_functions", "statistics"},
    {"named_functions"},
    {"denoising", "whitening"},
    {"testing", "cli"},
)


def modules(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(itertools.chain.from_iterable(modules(package) for package in PACKAGES))
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
CORE = sorted(name for name in MODULES if name.split(".")[0] == "specgrad")
PUBLIC = sorted(name for name in MODULES if not any(part.startswith("_") for part in name.split(".")))


def imports(tree):
    """The full names that a module imports, each as a module and, if it may be one, as its submodule."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                yield node.module, f"{node.module}.{alias.name}"


def dependencies(name):
    """The modules of this project that a module imports: the submodule where a name is one."""
    for module, member in imports(TREES[name]):
        target = member if member in MODULES else module
        if target in MODULES:
            yield target


def floor(name):
    unit = name.split(".")[1]
    found = [number for number, units in enumerate(FLOORS) if unit in units]
    assert found, f"{name} has no floor: give it one in FLOORS, above all that it imports."
    return found[0]


@pytest.mark.parametrize("name", [name for name in CORE if name != "specgrad"])
def test_imports_point_down(name):
    for target in dependencies(name):
        assert target.startswith("specgrad."), f"{name} imports {target}"
        same_unit = target.split(".")[1] == name.split(".")[1]
        assert same_unit or floor(target) < floor(name), f"{name} imports {target}, which is no lower floor."


def test_no_circles():
    """Also not through a package's ``__init__``, which runs before any of its submodules."""
    state = {}

    def visit(name, path):
        assert state.get(name) != "open", f"circle: {' -> '.join([*path, name])}"
        if name not in state:
            state[name] = "open"
            for target in dependencies(name):
                visit(target, [*path, name])
            state[name] = "done"

    for name in MODULES:
        visit(name, [])


@pytest.mark.parametrize("name", MODULES)
def test_no_imports_inside_functions(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for inner in ast.walk(node):
                assert not isinstance(inner, ast.Import | ast.ImportFrom), f"{name}, line {inner.lineno}"


@pytest.mark.parametrize("name", [name for name in CORE if not name.startswith("specgrad.cli")])
def test_the_core_names_no_framework(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = {
                x.split(".")[0] for x in [getattr(node, "module", None), *(a.name for a in node.names)] if x
            }
        elif isinstance(node, ast.Name):
            named = {node.id}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = {node.value.split(".")[0]}
        else:
            continue
        assert not named & BACKENDS, f"{name}, line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_one_module_imports_array_api_compat(name):
    if name != "specgrad._namespace":
        assert not any(module.startswith("array_api_compat") for module, _ in imports(TREES[name]))


@pytest.mark.parametrize("package", PACKAGES)
def test_adapters_do_not_import_each_other(package):
    for name in MODULES:
        if package not in ("specgrad", name.split(".")[0]):
            assert not any(target.split(".")[0] == package for target in dependencies(name)), name


def defined(name):
    """The public functions and classes of a module, and what a package imports of this project."""
    for node in TREES[name].body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and MODULES[name].name == "__init__.py":
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom) and MODULES[name].name == "__init__.py":
            yield from (alias.asname or alias.name for alias in node.names)


# Commands are for the command line, and no names to import.
@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.startswith("specgrad.cli")])
def test_all_is_what_there_is(name):
    listed = [
        ast.literal_eval(node.value)
        for node in TREES[name].body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__"
    ]
    public = {x for x in defined(name) if not x.startswith("_") and not x.isupper()}
    if not public and not listed:
        return
    assert len(listed) == 1, f"{name} has no __all__"
    assert len(set(listed[0])) == len(listed[0]), "a name is listed twice"
    module = load(name)
    values = {x for x in listed[0] if not inspect.isclass(x) and not callable(getattr(module, x))}
    assert {x for x in listed[0] if x not in values and not is_alias(name, x)} == public - values


def is_alias(name, variable):
    """Whether a module defines a name as a type alias or a constant, by an annotated assignment."""
    return any(isinstance(node, ast.AnnAssign) and node.target.id == variable for node in TREES[name].body)


def load(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name and error.name.split(".")[0] in EXTRAS:
            pytest.skip(f"{error.name} is not installed")
        raise


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.startswith("specgrad.cli")])
def test_public_names_have_docstrings(name):
    module = load(name)
    assert module.__doc__, name
    for member in getattr(module, "__all__", ()):
        value = getattr(module, member)
        if inspect.isclass(value) or inspect.isfunction(value):
            # A dataclass without one gets its signature, and that is none.
            assert value.__doc__, f"{name}.{member}"
            assert not value.__doc__.startswith(f"{member}("), f"{name}.{member}"
            if "__post_init__" in vars(value):
                assert "Raises\n" in value.__doc__, f"{name}.{member} says not what it refuses"


@pytest.mark.parametrize("package", PACKAGES)
def test_signatures_do_not_show_the_binding(package):
    module = load(package)
    for member in module.__all__:
        if inspect.isfunction(value := getattr(module, member)):
            assert "binding" not in inspect.signature(value).parameters, f"{package}.{member}"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    failures, _ = doctest.testmod(load(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert not failures


@pytest.mark.parametrize("package", PACKAGES)
def test_typed(package):
    assert (ROOT / package / "py.typed").exists()


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {specgrad.__version__}\n" in citation
