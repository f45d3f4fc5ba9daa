"""Mathematics as MathML, by the converter that comes with docutils: no script, no font, no network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_LOGGER = logging.getLogger(__name__)

# Browsers stretch fences and set a bar apart like a relation; in TeX neither happens by itself.
_FENCE = re.compile(r"<mo(?: stretchy=\"false\")?>([|‖⟨⟩])</mo>")
_UNSTRETCHED = r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>'


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_converted(node, as_block=False))
    raise nodes.SkipNode


def _visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_converted(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _converted(node: nodes.Element, as_block: bool) -> str:
    try:
        return _FENCE.sub(_UNSTRETCHED, tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        _LOGGER.warning("Mathematics that cannot be converted: %s in %r", error, node.astext(), location=node)
        return f"<code>{node.astext()}</code>"
