"""Sphinx configuration of both editions; ``tools/publish.py`` sets ``language`` and ``html_title``."""

import importlib.util
import re
from pathlib import Path

from sphinx.search import SearchLanguage

MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg.js"

project = "LeNet, step by step"
copyright = "The authors of LeNet, step by step"
extensions = ["myst_nb"]
root_doc = "index"

myst_enable_extensions = ["dollarmath"]
myst_links_external_new_tab = True
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "image/png", 1)]

html_theme = "sphinx_book_theme"
html_theme_options = {
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "footer_content_items": ["license.html"],
    "navbar_persistent": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_toc_level": 2,
    "use_fullscreen_button": False,
}
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["home.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_static_path = ["_static", str(MATHJAX)]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_use_index = False
html_show_sphinx = False
mathjax_path = MATHJAX.name


class ChineseSearch(SearchLanguage):
    """Index and search Chinese by pairs of neighbouring characters, and everything else by words."""

    lang = "zh"
    language_name = "Chinese"
    pieces = re.compile(r"(?=([\u3400-\u9fff]{2}))|([^\W\u3400-\u9fff]+)")
    js_splitter_code = r"""
        var splitQuery = (query) => Array.from(
            query.matchAll(/(?=([\u3400-\u9fff]{2}))|([^\W\u3400-\u9fff]+)/g), (match) => match[1] ?? match[2]);
    """

    def split(self, input):
        return [pair or word for pair, word in self.pieces.findall(input)]

    def word_filter(self, word):
        return len(word) > 1


def setup(app):
    app.add_search_language(ChineseSearch)
