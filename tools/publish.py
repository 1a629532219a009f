"""Publish notebooks with the outputs that are stored in them: no notebook is run.

tools/publish.py site                   write both editions to build/site, with search and a language switch
tools/publish.py export NOTEBOOK ...    write build/export/EDITION/NAME.html, one file that is ready to print
tools/publish.py slides NOTEBOOK ...    write build/slides/EDITION/NAME.html, for a lesson
"""

import ast
import base64
import locale
import mimetypes
import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import nbformat
import torch
from nbconvert import HTMLExporter, SlidesExporter
from sphinx.cmd.build import main as sphinx_build
from torch import nn

from lenet_helpers import load_data_fashion_mnist
from lenet_helpers.explorers import explore_net
from lenet_helpers.language import speaking
from lenet_helpers.recipes import RECIPES, make_lenet, recipe_steps

ROOT = Path(__file__).parents[1]
SITE, BUILD = ROOT / "site", ROOT / "build"
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
REVEAL = Path(find_spec("sphinx_revealjs").origin).parent / "_static" / "revealjs"
LANGUAGES = {"en": "en", "zh": "zh_CN"}  # Sphinx's names for the languages of the editions
PROMPTS = {"en": ("Show the solution", "Hide the solution"), "zh": ("展开参考答案", "收起参考答案")}
BELOW_EXPLORER = "overview-drive-text"  # the cell that follows the first picture of it in notebook 06
LIVE = {
    "en": 'Above is a picture. <a href="explorer.html">Open a live explorer</a>: its net learned for one epoch.',
    "zh": '上面只是图片。<a href="explorer.html">打开一个能操作的探索器</a>：里面的网络训练了一个迭代周期。',
}
FOR_TEACHERS = ("teaching", "servers")
ENDINGS = {"en": ".md", "zh": ".zh.md"}  # of the pages for teachers
# A new line for each sentence, which would show as a space; not before a list, a table, a heading, code or a formula.
CHINESE_BREAK = re.compile(r"(?<=[，。：；！？）])\n(?!\s|[-*] |\d+\. |[|#<]|```|\$\$|!\[)")
NOT_ON_SLIDES = {"exercises", "questions"}


def main(arguments):
    match arguments:
        case ["site"]:
            return build_site(BUILD / "site")
        case ["export" | "slides" as command, _, *_]:
            for path in map(Path, arguments[1:]):
                print({"export": export, "slides": make_slides}[command](path.resolve(), BUILD / command))
        case _:
            raise SystemExit(__doc__)


def build_site(folder):
    """Write the site to ``folder``, which is emptied; return Sphinx's exit status, which counts warnings as errors."""
    source = folder.with_name(f"{folder.name}-source")
    for old in (folder, source):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(ROOT / "img", source / "img")
    status, spoken = 0, locale.setlocale(locale.LC_ALL)
    for edition, language in LANGUAGES.items():
        pages = source / "notebooks" / edition
        shutil.copytree(SITE / edition, pages)
        for name in FOR_TEACHERS:
            shutil.copy(ROOT / "docs" / f"{name}{ENDINGS[edition]}", pages / f"{name}.md")
        for path in pages.glob("*.md"):
            text = path.read_text(encoding="utf-8").replace(f"{ENDINGS[edition]})", ".md)")  # links between these pages
            path.write_text(CHINESE_BREAK.sub("", text), encoding="utf-8")
        for path in sorted((ROOT / "notebooks" / edition).glob("*.ipynb")):
            notebook = prepare(path)
            notebook.cells[0].source = notebook.cells[0].source.replace("# ", f"# {path.stem[:2]} ", 1)
            for cell in notebook.cells:
                if cell.id == BELOW_EXPLORER:
                    cell.source = f"{LIVE[edition]}\n\n{cell.source}"
            nbformat.write(notebook, pages / path.name)
        title = (pages / "index.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        show, hide = PROMPTS[edition]
        settings = ["-D", f"language={language}", "-D", f"html_title={title}"]
        settings += ["-D", f"nb_code_prompt_show={show}", "-D", f"nb_code_prompt_hide={hide}"]
        doctrees = str(source / "doctrees" / edition)
        command = ["-q", "-W", "--keep-going", "-c", str(SITE), "-d", doctrees, *settings]
        status |= sphinx_build([*command, str(pages), str(folder / edition)])
    locale.setlocale(locale.LC_ALL, spoken)  # Sphinx has taken the user's, in which errors and decimal points differ
    shutil.rmtree(folder / "jupyter_execute")  # what myst-nb works with
    shutil.copy(SITE / "index.html", folder)
    save_explorers(folder)
    return status


def save_explorers(folder):
    """Train a LeNet for one epoch, which takes seconds, and save the explorer of it as a live page of each edition."""
    recipe = replace(RECIPES["modern"], make_net=partial(make_lenet, nn.ReLU, nn.MaxPool2d), num_epochs=1)
    train_iter, test_iter = load_data_fashion_mnist(128)
    torch.manual_seed(0)
    net = recipe.make_net()
    for _ in recipe_steps(recipe, net, train_iter, test_iter, torch.device("cpu")):
        pass
    X, y = next(iter(test_iter))
    for edition in LANGUAGES:
        with speaking(edition):
            explore_net(net, X, y).save(folder / edition / "explorer.html")


def export(path, folder):
    """Write a notebook as one HTML file with all answers unfolded; return its path."""
    notebook = prepare(path)
    for cell in notebook.cells:
        unfolded = re.sub(r"<details><summary>(.*?)</summary>", r"\n*\1*", cell.source)
        cell.source = unfolded.replace("</details>", "")
    return convert(HTMLExporter, notebook, path, folder)


def make_slides(path, folder):
    """Write slides: a column for each section but exercises and questions, and a slide for each text with its code."""
    notebook = prepare(path)
    cells, section = [], None
    for cell in notebook.cells:
        heading = cell.source.startswith(("# ", "## "))
        section = cell.id if heading else section
        if section in NOT_ON_SLIDES:
            continue
        follows_text = cells and cells[-1].cell_type == "markdown"
        kind = "slide" if heading else "-" if cell.cell_type == "code" and follows_text else "subslide"
        cell.metadata["slideshow"] = {"slide_type": kind}
        cells.append(cell)
    notebook.cells = cells
    shutil.copytree(REVEAL, folder / "reveal.js", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.map", "*.scss"))
    return convert(SlidesExporter, notebook, path, folder, reveal_url_prefix="../reveal.js", reveal_theme="white")


def convert(exporter, notebook, path, folder, **settings):
    """Write a notebook by one of nbconvert's exporters to ``folder``, below the name of its edition."""
    edition = path.parent.name
    template = SITE / folder.name
    exporter = exporter(
        template_name=template.name,
        extra_template_basedirs=[str(SITE)],
        extra_template_paths=[str(SITE), str(MATHJAX)],
        language_code=edition,
        **settings,
    )
    for cell in notebook.cells:
        cell.source = re.sub(r"\[([^]]+)\]\([^)]+\.ipynb\)", r"\1", cell.source)  # the other notebooks stay behind
        cell.source = re.sub(r"(?<=\]\()\.\./[^)]+", lambda match: embed(path.parent / match[0]), cell.source)
    title = notebook.cells[0].source.partition("# ")[2].splitlines()[0]
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    target = folder / edition / f"{path.stem}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return target


def embed(path):
    """Return a picture as a data URI; nbconvert's own embed_images tears <details> apart."""
    return f"data:{mimetypes.guess_type(path)[0]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def prepare(path):
    """Read a notebook, fold its solutions, join Chinese lines, and describe pictures to readers who do not see them."""
    notebook = nbformat.read(path, as_version=4)
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = CHINESE_BREAK.sub("", cell.source)
        heading = (re.findall(r"^#+ (.+)", cell.source, flags=re.M) or [heading])[-1]
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-cell"]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                cell.metadata["mystnb"] = {"image": {"alt": describe(cell, output, heading)}}
    return notebook


def describe(cell, output, heading):
    """Return what a widget or a learning curve says of itself; for other pictures, the section and the drawing call."""
    text = output.data["text/plain"]
    if text.startswith("<"):
        return f"{heading}: {ast.unparse(ast.parse(cell.source).body[-1])}"
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
