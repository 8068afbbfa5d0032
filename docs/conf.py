"""Settings of the documentation site; ``make doc`` builds it."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

import sb3_maxent

project = "sb3_maxent"
author = "The sb3_maxent developers"
version = release = sb3_maxent.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"sb3_maxent {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

# Formulas are written by docutils as MathML, which browsers draw themselves: nothing is loaded from elsewhere
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_inherit_docstrings = False  # what Gymnasium and PyTorch say of a method is not in our markup
python_use_unqualified_type_names = True
add_module_names = False
maximum_signature_line_length = 90

# A reference to a class or function of ours that does not exist is an error; those of others have their own sites, which a
# build without a network can't ask
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!sb3_maxent).*|.*\.Self\w+")]


def mathml(translator: HTML5Translator, node: nodes.Node, as_block: bool) -> str:
    """A formula as MathML; one that docutils does not understand is a warning, and stands there as it is."""
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s", error, location=node)
        return translator.encode(node.astext())


def setup(app: Sphinx) -> None:
    """Register the renderer of formulas."""

    def inline(self: HTML5Translator, node: nodes.math) -> None:
        self.body.append(mathml(self, node, as_block=False))
        raise nodes.SkipNode

    def block(self: HTML5Translator, node: nodes.math_block) -> None:
        self.body.append(f'<div class="math">{mathml(self, node, as_block=True)}</div>\n')
        raise nodes.SkipNode

    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
