"""What the explorers share: one text for the page's script and one for its style."""

from pathlib import Path

import pytest

import lenet_helpers
from lenet_helpers.explorers.base import read_script, read_style
from lenet_helpers.explorers.net import join_scripts, join_styles, synced_bytes

PACKAGE = Path(lenet_helpers.__file__).parent


@pytest.mark.parametrize(
    ("join", "names", "files"),
    [
        (read_script, ["walk.js"], ["language.js", "explorers/common.js", "explorers/walk.js"]),
        (
            join_scripts,
            ["confusions.js", "errors.js"],
            ["language.js", "explorers/common.js", "explorers/confusions.js", "explorers/errors.js"],
        ),
        (read_style, ["walk.css"], ["explorers/common.css", "explorers/walk.css"]),
        (
            join_styles,
            ["confusions.css", "errors.css"],
            ["explorers/common.css", "explorers/confusions.css", "explorers/errors.css"],
        ),
    ],
)
def test_a_widget_has_one_text_with_what_is_shared_in_front(join, names, files):
    assert join(*names) == "".join((PACKAGE / file).read_text(encoding="utf-8") for file in files)


def test_bytes_travel_raw():
    trait = synced_bytes()
    assert trait.default_value == b"" and trait.metadata["sync"] is True
    assert trait.metadata["from_json"](memoryview(b"ab"), None) == b"ab"
