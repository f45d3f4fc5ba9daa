"""The documentation site: ``sphinx-build -W -b html docs docs/_build/html``. Needs no network."""

import sys
from pathlib import Path

import specgrad

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE / "_ext"))

project = "specgrad"
author = "The specgrad authors"
project_copyright = author
version = release = specgrad.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "mathml",
]
exclude_patterns = ["_build", "_static"]  # _static holds pieces that pages include

html_theme = "furo"
html_title = f"specgrad {release}"
html_static_path = ["_static"]
html_css_files = ["specgrad.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

# Every number and figure on the site is computed when the site is built.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

# A name in single backticks in a docstring links to what it names, where it names something documented.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["cupy", "cupy_backends", "cupyx"]  # a page is built without a GPU
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shape"]  # of layers
