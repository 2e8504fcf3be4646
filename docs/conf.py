"""The site: Sphinx reads the pages of docs/, the tables of benchmarks/results and the docstrings.

`make site` builds it, with every warning an error. The source directory is the root of the
repository and not docs/, so that a link such as `../benchmarks/results/gain.md` or
`../CONTRIBUTING.md` leads to the same page here as where the files are read as they are.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

from explorax import __version__

DOCS = Path(__file__).parent

project = "explorax"
author = "the authors of explorax"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["docs/**", "benchmarks/results/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
# What is not walked through when pages are looked for.
exclude_patterns = [".*", "site", "runs", "dist", "src", "tests*", "examples", "**/__pycache__"]

myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 4  # links to headings, `#known-failures`, as where Markdown is read

# An extra that the environment of developers lacks.
autodoc_mock_imports = ["stable_baselines3", "torch"]
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_use_type_comments = False  # there are none, and looking for them takes a while
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

smartquotes = False  # the prime of s' is none
highlight_language = "text"  # equations and tables of words, indented; code says what it is
html_theme = "furo"
html_title = "explorax"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to_start.html"}
templates_path = ["templates"]
html_copy_source = False
html_show_copyright = False


def setup(app: Sphinx) -> dict[str, bool]:
    """Return what Sphinx wants to know of an extension, after writing the pages of the API."""
    sys.path.insert(0, str(DOCS))
    import api_pages  # beside this file
    import docstrings

    api_pages.write(DOCS / "api")
    app.connect("autodoc-process-docstring", docstrings.process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
