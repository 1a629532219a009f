"""Preparing any picture as an input of the net."""

import io
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from lenet_helpers.explorers.images import FORMATS, area_weights, make_noise, prepare_image


def encode(array, kind="PNG"):
    """Return the bytes of a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def drawn_on_paper(height, width):
    """Return a dark blue rectangle off the centre of white paper."""
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[height // 10 : height // 2, width // 20 : width // 3] = (20, 20, 90)
    return picture


@pytest.mark.parametrize("size", [(300, 200), (90, 400), (28, 40), (5, 7), (1500, 1200), (1, 1)])
def test_any_size_becomes_bright_centred_28_by_28(size):
    X, steps = prepare_image(encode(drawn_on_paper(*size)))
    assert X.shape == (28, 28)
    assert X.dtype == torch.float32
    assert X.min() >= 0
    assert X.max() <= 1
    assert steps[0][0] == f"original, {min(size[1], steps[0][1].shape[1])} × {steps[0][1].shape[0]}"
    if min(size) >= 28:
        assert X[14, 14] == pytest.approx(1, abs=1e-3)  # ink is bright, in the middle
        assert "inverted: the ground is bright" in [caption for caption, _ in steps]
        filled = (X > 0.5).nonzero()
        middle = (filled.min(0).values + filled.max(0).values) / 2
        assert (middle - 13.5).abs().max() <= 0.5
        assert (filled.max(0).values - filled.min(0).values).max() == 27  # the longer side fills the square


def test_image_of_the_data_set_stays_as_it_is(fashion):
    for X in fashion[0][:50, 0]:
        if torch.cat([X[0], X[-1], X[1:-1, 0], X[1:-1, -1]]).mean() <= 0.5:
            torch.testing.assert_close(prepare_image(encode((X * 255).byte().numpy()))[0], X)


def test_inverted_image_of_the_data_set_comes_back(fashion):
    X = fashion[0][0, 0]
    torch.testing.assert_close(prepare_image(encode(255 - (X * 255).byte().numpy()))[0], X)


def test_arrays_paths_and_pil_images_agree(tmp_path):
    picture = drawn_on_paper(60, 50)
    (tmp_path / "picture.png").write_bytes(encode(picture))
    expected, _ = prepare_image(encode(picture))
    path = tmp_path / "picture.png"
    for same in (picture, picture / 255, Image.fromarray(picture), path, str(path), path.read_bytes()):
        torch.testing.assert_close(prepare_image(same)[0], expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_that_the_message_names_is_read(kind):
    drawn = (prepare_image(encode(drawn_on_paper(60, 60), kind))[0] - prepare_image(drawn_on_paper(60, 60))[0]).abs()
    assert drawn.mean() < 0.05  # some of them lose a little
    with pytest.raises(ValueError, match=kind):
        prepare_image(b"")


def test_transparent_ground_is_paper():
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[10:30, 15:25, 3] = 255  # black, and only here to be seen
    X, _ = prepare_image(encode(picture))
    assert X[14, 14] == 1
    assert X[14, 0] == 0


def test_flat_picture_is_black():
    assert prepare_image(np.full((50, 50), 77, np.uint8))[0].sum() == 0


@pytest.mark.parametrize(("old", "new"), [(100, 28), (28, 28), (7, 20), (29, 28)])
def test_area_weights_average(old, new):
    weights = area_weights(old, new)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights.sum(0), new / old)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"this is text", "no picture that can be read"),
        (b"", "no picture that can be read"),
        (encode(drawn_on_paper(50, 50), "TIFF"), "no picture that can be read"),
        (encode(drawn_on_paper(50, 50))[:120], "damaged"),
        (np.zeros((2, 2, 5)), "shape"),
        (np.zeros((0, 5)), "shape"),
        (np.full((5, 5), np.nan), "lie in"),
        (np.full((5, 5), 255.0), "lie in"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "10,000 × 10,000"),
    ],
)
def test_no_picture_says_why(bad, says):
    with pytest.raises(ValueError, match=says):
        prepare_image(bad)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 20_000])
def test_huge_file_is_refused_before_it_is_decoded(side):
    start = encode(np.zeros((1, 1), np.uint8))
    header = start[:16] + side.to_bytes(4, "big") * 2 + start[24:29]
    huge = header + zlib.crc32(header[12:]).to_bytes(4, "big") + start[33:]
    with pytest.raises(ValueError, match="smaller"):
        prepare_image(huge)


def test_noise_repeats_with_its_seed():
    assert torch.equal(make_noise(3), make_noise(3))
    assert not torch.equal(make_noise(3), make_noise(4))
    assert make_noise().shape == (28, 28)
