"""Builds the documentation with Sphinx: `tox -e docs`. Nothing is downloaded, and every warning is an error."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

from repository_links import on_the_site, write_included_pages

project = "dynbench"
author = "the dynbench developers"
copyright = "the dynbench developers, MIT licence"  # noqa: A001  (Sphinx reads this name)
release = installed_version("dynbench")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "code"  # docstrings are written with single backticks, as Markdown has them
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False

html_theme = "furo"
html_title = "dynbench"
html_static_path = ["_static"]
html_css_files = ["dynbench.css"]
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Have Sphinx take the pages that stand elsewhere in the repository, and links that are right on GitHub too."""
    write_included_pages()
    app.connect("source-read", _source_read)


def _source_read(app: Sphinx, docname: str, source: list[str]) -> None:  # noqa: ARG001  (Sphinx calls it)
    page = Path(__file__).parent / f"{docname}.md"
    source[0] = on_the_site(source[0], page, page)
