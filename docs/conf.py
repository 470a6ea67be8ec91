"""Configuration of the documentation site, which ``make docs`` builds."""

import importlib.util
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER / "_ext"))

import command_help  # noqa: E402
import public_names  # noqa: E402
import repository_pages  # noqa: E402

import sparse_engine  # noqa: E402

project = "sparse_engine"
author = "the developers of sparse_engine"
version = release = sparse_engine.__version__

extensions = [
    "myst_nb",
    "repository_pages",
    "short_names",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_ext", "README.md", *repository_pages.missing()]
templates_path = ["_templates"]
nitpicky = True

# Pages: Markdown with directives; tutorials are notebooks, executed in one thread.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove-warn"  # a page without warnings of its code
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of tqdm, where widgets are missing

# Reference: a page for every public name. Trainers that are not installed are replaced by mocks.
public_names.write_pages(FOLDER / "reference" / "api")
command_help.write_texts(FOLDER / "reference" / "api" / "help")
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_mock_imports = [
    name
    for name in ("accelerate", "lightning", "skorch", "torch_sparse", "transformers")
    if importlib.util.find_spec(name) is None
]
autodoc_default_options = {"show-inheritance": True}
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# Names of other projects are links only where their lists of names may be downloaded.
OTHERS = {
    "python": "https://docs.python.org/3",
    "torch": "https://docs.pytorch.org/docs/stable",
    "numpy": "https://numpy.org/doc/stable",
    "scipy": "https://docs.scipy.org/doc/scipy",
    "networkx": "https://networkx.org/documentation/stable",
    "matplotlib": "https://matplotlib.org/stable",
}
online = os.environ.get("SPARSE_ENGINE_DOCS_ONLINE") == "1"
intersphinx_mapping = {name: (url, None) for name, url in OTHERS.items()} if online else {}

projects = (
    "accelerate|huggingface_hub|lightning|matplotlib|networkx|np|numpy|nx|pandas|pd|pyarrow|scipy|"
    "skorch|sklearn|torch|transformers"
)
standard = "abc|collections|enum|fnmatch|fractions|http|pathlib|typing|typing_extensions"
nitpick_ignore_regex = [
    (r"py:.*", rf"({projects}|{standard})\b.*"),
    (r"py:class", r"Tensor|Path|Optimizer|ProcessGroup|Axes|SciPyMatrix|SparseTensor|csr_array"),
    (r"py:class", r"nn\..*|dict\[.*"),
    # What the package does not export: bases in signatures, and helpers that docstrings name.
    (r"py:class", r"sparse_engine\..*"),
    (r"py:.*", r"sparse_engine\.\w+\.\w+.*"),
    (r"py:.*", r"Observer|Rule|Transition|Signs|Where|coil20|mnist|series|forward|lif_step"),
]

# `make docs-links` checks links between pages and to files; links to other sites where it may.
linkcheck_ignore = [] if online else [r"https?://"]
linkcheck_anchors = False

html_theme = "pydata_sphinx_theme"
html_title = "sparse_engine"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Where the site is published, in a folder for each version (.github/workflows/site.yml).
if url := os.environ.get("SPARSE_ENGINE_DOCS_URL"):
    shown = os.environ.get("SPARSE_ENGINE_DOCS_VERSION", "latest")
    html_baseurl = f"{url}/{shown}/"
    html_theme_options["switcher"] = {"json_url": f"{url}/switcher.json", "version_match": shown}
    html_theme_options["navbar_end"] = ["version-switcher", "theme-switcher"]
    html_theme_options["check_switcher"] = False
html_sidebars = {"index": [], "faq": [], "glossary": []}
