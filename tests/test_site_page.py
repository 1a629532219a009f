"""The built pages in Chromium: nothing in site, slides and exports comes from elsewhere, is broken, or is unseen."""

import functools
import http.server
import locale
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import publish  # noqa: E402

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks" / "en").glob("*.ipynb"))
EDITIONS = ["en", "zh"]
PAGES = [*NOTEBOOKS, "index", *publish.FOR_TEACHERS, "search"]
COLOURS = ["color-contrast", "link-in-text-block"]
SEARCHES = {"en": ("receptive", "03_walk_the_shapes"), "zh": ("讲义", "teaching")}


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build site and slides, and serve them; gives the address."""
    folder, spoken = tmp_path_factory.mktemp("build"), locale.setlocale(locale.LC_ALL)
    assert publish.build_site(folder / "site") == 0, "Sphinx warned: see its output"
    assert locale.setlocale(locale.LC_ALL) == spoken, "tests that follow would meet errors in the user's language"
    for edition in EDITIONS:
        publish.make_slides(ROOT / "notebooks" / edition / "01_build_the_encoder.ipynb", folder / "slides")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def visit(page, built):
    """Return a function that opens a page; all its requests must be answered, by this machine, without an error."""
    faults = []
    page.on("request", lambda sent: sent.url.startswith((built, "data:", "blob:")) or faults.append(sent.url))
    page.on("response", lambda reply: reply.ok or reply.status == 304 or faults.append(f"{reply.status} {reply.url}"))
    page.on("pageerror", lambda error: faults.append(str(error)))

    def visit(name, until="networkidle"):
        page.goto(built + name, wait_until=until)
        assert faults == []

    yield visit
    page.close()


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere_and_pictures_are_seen(visit, page, built, edition, name):
    visit(f"site/{edition}/{name}.html")
    urls = page.evaluate("[...document.querySelectorAll('a[href]')].map((a) => a.href)")
    targets = {}
    for target, anchor in map(urldefrag, filter(lambda url: url.startswith(built), urls)):
        if target not in targets:
            reply = page.request.get(target)
            assert reply.ok, target
            targets[target] = reply.body().decode(errors="replace")
        assert not anchor or f'id="{unquote(anchor)}"' in targets[target], f"{target}#{anchor}"
    pictures = page.evaluate(
        """() => [...document.querySelectorAll(".bd-article img")].map((image) => {
            image.loading = "eager";
            return image.decode().then(() => [image.alt, image.naturalWidth]);
        }).reduce(async (all, one) => [...await all, await one], [])"""
    )
    assert all(alt.strip() and width > 50 for alt, width in pictures)
    assert len(pictures) >= 1 or name in (*publish.FOR_TEACHERS, "search")


#: A page has thousands of words of code in a handful of colours: mark the first word of each look.
MARK = """() => {
    const looks = new Map([[null, ""]]);
    const look = (node) => {
        if (!looks.has(node)) {
            const { color, backgroundColor, backgroundImage, fontSize, fontWeight, opacity } = getComputedStyle(node);
            const own = [color, backgroundColor, backgroundImage, fontSize, fontWeight, opacity];
            looks.set(node, own + look(node.parentElement));
        }
        return looks.get(node);
    };
    const seen = new Set();
    for (const word of document.querySelectorAll("pre, pre *")) {
        const hasText = [...word.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
        word.toggleAttribute("data-first", hasText && !seen.has(look(word)));
        if (hasText) seen.add(look(word));
    }
}"""
DESCRIBE = {"preload": False, "resultTypes": ["violations"]}  # to describe what is right takes longer than to find it


def complain(page):
    """Return what axe finds wrong with a page by all of its rules but those about colours."""
    return tell(Axe().run(page, options={**DESCRIBE, "rules": {rule: {"enabled": False} for rule in COLOURS}}))


def complain_of_colours(page):
    """Return what axe finds wrong with the colours of a page.

    Of words of code that look the same, down to the page behind them, it looks at one.
    """
    page.evaluate(MARK)
    context = {"include": [["html"], ["[data-first]"]], "exclude": [["pre"]]}
    return tell(Axe().run(page, context, {**DESCRIBE, "runOnly": COLOURS}))


def tell(results):
    violations = results.response["violations"]
    return [(rule["id"], node["html"], node["failureSummary"]) for rule in violations for node in rule["nodes"]]


@pytest.mark.parametrize("edition", EDITIONS)
def test_pages_are_readable(visit, page, shoot, edition):
    for name in PAGES:
        page.emulate_media(color_scheme="light")
        visit(f"site/{edition}/{name}.html", until="load")
        page.evaluate("window.MathJax?.startup.promise")
        shoot(f"site_{edition}_{name}_light")
        assert complain(page) + complain_of_colours(page) == [], name
        page.emulate_media(color_scheme="dark")
        page.locator("html[data-theme=dark]").wait_for()
        page.wait_for_function("!document.getAnimations().length")  # no colour is on its way to another
        shoot(f"site_{edition}_{name}_dark")
        assert complain_of_colours(page) == [], f"{name} in the dark"


def test_what_cannot_be_read_is_found(page):
    pale = "<pre><span style='color:#aaa'>for</span> <span style='color:#aaa'>in</span> <b>all</b></pre>"
    page.set_content(f"<html lang='en'><title>t</title><main><img src='data:,'><h1>Code</h1>{pale}{pale}</main>")
    assert [rule for rule, *_ in complain(page)] == ["image-alt"]
    assert [html for _, html, _ in complain_of_colours(page)] == ['<span style="color:#aaa" data-first="">for</span>']
    page.add_style_tag(content="pre + pre { background: #999 } h1 { color: #bbb } pre { color: #ccc }")
    assert [html[:5] for _, html, _ in complain_of_colours(page)] == ["<h1>C", "<span", "<b da", "<span", "<b da"]


@pytest.mark.parametrize("edition", EDITIONS)
def test_solutions_and_answers_are_folded_and_formulas_drawn(visit, page, edition):
    visit(f"site/{edition}/01_build_the_encoder.html")
    assert page.locator(".bd-article details").count() >= 10
    assert page.locator(".bd-article details[open]").count() == 0
    assert page.get_by_text("def solution(n)").count() == 1 and not page.get_by_text("def solution(n)").is_visible()
    page.locator("mjx-container svg").first.wait_for()
    assert "widget-view" not in page.content()


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("name", ["index", "06_look_inside"])
def test_one_explorer_is_live(visit, page, edition, name):
    visit(f"site/{edition}/{name}.html")
    page.locator(".bd-article a[href='explorer.html']").click()
    page.get_by_role("button", name={"en": "Draw", "zh": "画图"}[edition]).wait_for()
    assert page.locator("html").get_attribute("lang") == edition
    assert page.locator("canvas").count() == 13


@pytest.mark.parametrize("edition", EDITIONS)
def test_code_and_pictures_stay_within_a_phone(visit, page, edition):
    page.set_viewport_size({"width": 390, "height": 800})
    for name in PAGES:
        visit(f"site/{edition}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, name


@pytest.mark.parametrize("edition", EDITIONS)
def test_search_finds_a_word(visit, page, edition):
    word, name = SEARCHES[edition]
    visit(f"site/{edition}/search.html?q={word}")
    page.locator(f"#search-results a[href*='{name}.html']").first.wait_for()
    visit(f"site/{edition}/search.html?q={'讲卷核' if edition == 'zh' else 'xyzzy'}")
    page.locator("#search-results .search-summary").wait_for()
    assert page.locator("#search-results li").count() == 0


@pytest.mark.parametrize("name", PAGES)
def test_the_language_switch_leads_to_the_same_page(visit, page, name):
    visit(f"site/en/{name}.html")
    page.get_by_role("link", name="中文").click()
    page.wait_for_url(f"**/site/zh/{name}.html")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.get_by_role("link", name="English").click()
    page.wait_for_url(f"**/site/en/{name}.html")


def test_the_bare_address_leads_to_the_course(visit, page, built):
    page.goto(urljoin(built, "site/"))
    page.wait_for_url("**/site/en/index.html")


@pytest.mark.parametrize("edition", EDITIONS)
def test_slides_fit_and_can_be_paged_through(visit, page, shoot, edition):
    visit(f"slides/{edition}/01_build_the_encoder.html")
    page.locator("mjx-container svg").first.wait_for(state="attached")
    shoot(f"slides_{edition}")
    total = page.evaluate("Reveal.getTotalSlides()")
    assert total > 20
    for number in range(1, total + 1):
        height, width, most, wide = page.evaluate(
            """[Reveal.getCurrentSlide().scrollHeight, Reveal.getCurrentSlide().scrollWidth,
                Reveal.getConfig().height, Reveal.getConfig().width]"""
        )
        assert height <= most and width <= wide, page.locator("section.present:not(.stack)").inner_text()
        assert page.evaluate("Reveal.isLastSlide()") == (number == total)
        page.keyboard.press("Space")
    assert page.get_by_text("def solution").count() == 0


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_export_prints_whole_figures(page, tmp_path, name):
    path = publish.export(ROOT / "notebooks" / "en" / f"{name}.ipynb", tmp_path / "export")
    asked = []
    page.on("request", lambda sent: asked.append(sent.url))
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 1000})  # an A4 page within its margins
    page.goto(path.as_uri(), wait_until="networkidle")
    assert [url for url in asked if not url.startswith(("data:", path.as_uri()))] == []
    wide = page.evaluate(
        """[...document.querySelectorAll("img, pre, table, mjx-container")].filter((one) => {
            const box = one.getBoundingClientRect();
            const cut = box.right > innerWidth || one.scrollWidth > one.clientWidth + 1;
            return cut || one.tagName === "IMG" && box.height > 950;
        }).map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert wide == []
    assert page.pdf(format="A4", print_background=True).startswith(b"%PDF")
