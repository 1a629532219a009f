"""The film of the train panel, which the README shows."""

import io
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def film_panel():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import film_panel
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return film_panel


def read_frames(path):
    """Return the pictures of a film and the milliseconds that each is shown."""
    with Image.open(path) as film:
        assert film.format == "GIF" and film.info["loop"] == 0
        return [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(film)]


def take_picture(size, colour):
    """Return the bytes of a picture of one colour, as a browser would hand them over."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="png")
    return buffer.getvalue()


def test_the_film_moves_and_the_readme_shows_it(film_panel):
    pictures = [picture for picture, _ in read_frames(film_panel.TARGET)]
    assert len(pictures) > film_panel.FRAMES / 2
    assert all(one.tobytes() != following.tobytes() for one, following in pairwise(pictures))
    for name in ("README.md", "README.zh.md"):
        assert f"]({film_panel.TARGET.relative_to(ROOT)})" in (ROOT / name).read_text(encoding="utf-8")


def test_pictures_of_any_size_become_one_film_that_rests_at_its_end(film_panel, monkeypatch, tmp_path):
    monkeypatch.setattr(film_panel, "TARGET", tmp_path / "film.gif")
    film_panel.save_film([take_picture((40, 20), "red"), take_picture((30, 50), "blue")])
    (first, short), (last, long) = read_frames(film_panel.TARGET)
    assert first.size == last.size == (40, 50)
    assert short == film_panel.MILLISECONDS < long
    assert first.getpixel((39, 19)) == (255, 0, 0) and last.getpixel((39, 19)) == (255, 255, 255)
