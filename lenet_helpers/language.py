"""The language that checks and widgets speak: English, or a translation from the catalogues in ``locale/``."""

import contextlib
import contextvars
import functools
import gettext
import json
import os
import re
from pathlib import Path

import traitlets

LOCALE = Path(__file__).parent / "locale"
LANGUAGES = ("en", "zh")

_chosen = None
_for_now = contextvars.ContextVar("language", default=None)


def use_language(language):
    """Speak ``language``, "en" or "zh", from now on, whatever the folder; None goes by the folder again.

    Raises ValueError for another language.
    """
    global _chosen
    _chosen = language if language is None else check_language(language, "use_language")


def find_language():
    """Return the language of ``use_language``, else of ``LENET_LANGUAGE``, else of a folder named "zh", else "en".

    The folder is the present working directory: a notebook's kernel starts in the notebook's own. One that has been
    deleted has no name.
    """
    if language := _for_now.get() or _chosen:
        return language
    if named := os.environ.get("LENET_LANGUAGE"):
        return check_language(named, "LENET_LANGUAGE")
    try:
        folder = Path.cwd().name
    except OSError:
        return "en"
    return folder if folder in LANGUAGES else "en"


@contextlib.contextmanager
def speaking(language):
    """Speak ``language`` inside a ``with`` block: pictures are drawn in English, whose letters every font has."""
    token = _for_now.set(check_language(language, "speaking"))
    try:
        yield
    finally:
        _for_now.reset(token)


def check_language(language, source):
    """Return ``language``; raise ValueError, which names its ``source``, if there is no catalogue for it."""
    if language not in LANGUAGES:
        raise ValueError(f"{source} must be one of {', '.join(LANGUAGES)}; it is {language!r}")
    return language


@functools.cache
def load_catalogue(language):
    """Return the translations into a language; English texts are their own."""
    return gettext.translation("lenet", LOCALE, [language], fallback=language == "en")


def _(text):
    """Return ``text`` in the present language; its {places} are filled in afterwards, with ``format``."""
    return load_catalogue(find_language()).gettext(text)


def find_texts(script):
    """Return all texts ``_("…")`` of a JavaScript module."""
    return [json.loads(text) for text in re.findall(r'\b_\(\s*("(?:[^"\\]|\\.)*")', script)]


class SpeakingWidget(traitlets.HasTraits):
    """A widget whose script ``_esm`` begins with ``language.js``, and speaks the language of the time it was made.

    ``texts`` holds the translations of the script's texts; it is empty in English.
    """

    language = traitlets.Unicode().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)

    @traitlets.default("language")
    def _find_language(self):
        return find_language()

    @traitlets.default("texts")
    def _translate_script(self):
        with speaking(self.language):
            return {text: _(text) for text in find_texts(str(self._esm)) if _(text) != text}
