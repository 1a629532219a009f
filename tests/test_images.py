"""Preparing any picture as an input of the net."""

import io
import re
import zlib

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from lenet_helpers.explorers.images import (
    FORMATS,
    area_weights,
    border_mean,
    check_size,
    crop,
    fit,
    make_noise,
    prepare_image,
    read_image,
    stretch,
)


def encode(array, kind="PNG", **options):
    """Return the bytes of a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
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


def test_steps_are_named_and_end_with_the_input():
    X, steps = prepare_image(drawn_on_paper(60, 50))
    assert [(caption, array.shape) for caption, array in steps] == [
        ("original, 50 × 60", (60, 50, 3)),
        ("gray", (60, 50)),
        ("inverted: the ground is bright", (60, 50)),
        ("contrast stretched, cropped", (24, 14)),
        ("resized and centred, 28 × 28", (28, 28)),
    ]
    torch.testing.assert_close(X, torch.tensor(steps[-1][1]).float())


def test_ground_between_bright_and_dark_is_not_inverted():
    picture = np.repeat([[0.0, 1.0]], 28, axis=0).repeat(14, axis=1)
    np.testing.assert_array_equal(prepare_image(picture)[0], picture)


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
    tensor = torch.tensor(picture / 255, requires_grad=True)
    for same in (picture, picture / 255, tensor, Image.fromarray(picture), path, str(path), path.read_bytes()):
        torch.testing.assert_close(prepare_image(same)[0], expected)


def test_arrays_with_and_without_a_channel_agree():
    gray = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)
    for same in (gray, gray[None], gray / 255, gray[None] / 255, torch.tensor(gray[None])):
        np.testing.assert_allclose(read_image(same), [[0, 0.2, 0.4], [0.6, 0.8, 1]])


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_that_the_message_names_is_read(kind):
    drawn = (prepare_image(encode(drawn_on_paper(60, 60), kind))[0] - prepare_image(drawn_on_paper(60, 60))[0]).abs()
    assert drawn.mean() < 0.05  # some of them lose a little
    with pytest.raises(ValueError, match=kind):
        prepare_image(b"")


def test_transparent_ground_is_paper():
    colours = np.array([[[9, 9, 9, 0], [255, 0, 0, 255], [0, 255, 0, 51]]], np.uint8)
    np.testing.assert_allclose(read_image(encode(colours)), [[[1, 1, 1], [1, 0, 0], [0.8, 1, 0.8]]])
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[10:30, 15:25, 3] = 255  # black, and only here to be seen
    X, _ = prepare_image(encode(picture))
    assert X[14, 14] == 1
    assert X[14, 0] == 0


def test_photo_is_turned_upright():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was held on its side
    picture = drawn_on_paper(40, 60)
    np.testing.assert_array_equal(read_image(encode(picture, exif=exif)), np.rot90(picture, -1) / 255)


def test_flat_picture_is_black():
    assert prepare_image(np.full((50, 50), 77, np.uint8))[0].sum() == 0


def test_ground_is_the_outermost_rows_and_columns():
    pixels = np.arange(20.0).reshape(4, 5) ** 2
    inside = pixels[1:-1, 1:-1]
    assert border_mean(pixels) == pytest.approx((pixels.sum() - inside.sum()) / 14)


def test_stretching_goes_from_0_to_1():
    np.testing.assert_allclose(stretch(np.array([[0.2, 0.3, 0.6]])), [[0, 0.25, 1]])


def test_cropping_keeps_what_is_brighter_than_the_threshold():
    pixels = np.full((6, 7), 0.1)
    assert crop(pixels) is pixels
    pixels[2, 3] = pixels[3, 5] = 0.11
    np.testing.assert_array_equal(crop(pixels), [[0.11, 0.1, 0.1], [0.1, 0.1, 0.11]])
    np.testing.assert_array_equal(crop(pixels, 0.05), pixels)


def test_thin_line_is_one_pixel_thick():
    square = np.zeros((28, 28))
    square[13] = 1
    np.testing.assert_allclose(fit(np.ones((1, 100))), square)
    np.testing.assert_allclose(fit(np.ones((100, 1))), square.T)


@pytest.mark.parametrize(("old", "new"), [(100, 28), (28, 28), (7, 20), (29, 28)])
def test_area_weights_average(old, new):
    weights = area_weights(old, new)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights.sum(0), new / old)


UNREADABLE = "this is no picture that can be read; take a PNG, JPEG, GIF, BMP or WebP file"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        *[(bad, UNREADABLE) for bad in (b"this is text", b"", encode(drawn_on_paper(50, 50), "TIFF"))],
        (encode(drawn_on_paper(50, 50))[:120], "this picture is damaged: .*; take another file"),
        *[
            (
                np.zeros(shape),
                rf"a picture has the shape \(H, W\), \(1, H, W\) or \(H, W, 3\), not {re.escape(str(shape))}",
            )
            for shape in ((2, 2, 5), (0, 5), (4,), (2, 5, 5), (1, 1, 5, 5))
        ],
        *[
            (np.array([[0.5, pixel]]), rf"pixels must be uint8 or lie in \[0, 1\]; these go from {span}")
            for pixel, span in ((1.5, "0.5 to 1.5"), (-0.1, "-0.1 to 0.5"), (np.nan, "nan to nan"))
        ],
        (
            np.broadcast_to(np.uint8(0), (10_000, 5_001)),
            "this picture has 5,001 × 10,000 pixels; at most 50,000,000 are read: make it smaller",
        ),
    ],
)
def test_no_picture_says_why(bad, says):
    with pytest.raises(ValueError, match=f"^{says}$"):
        prepare_image(bad)


@pytest.mark.fault("panel and explorers", "an upload that is no image")
def test_a_path_that_cannot_be_read_says_so(tmp_path):
    for path, why in ((tmp_path / "coat.png", "No such file or directory"), (tmp_path, "Is a directory")):
        for name in (path, str(path)):
            says = f"{path} cannot be read ({why}); give the path of a picture file"
            with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
                prepare_image(name)


def test_largest_picture_is_not_refused():
    check_size(10_000, 5_000)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("side", "says"),
    [
        (10_000, "this picture has 10,000 × 10,000 pixels; at most 50,000,000 are read: make it smaller"),
        (20_000, "this picture has far more than 50,000,000 pixels; make it smaller"),
    ],
)
def test_huge_file_is_refused_before_it_is_decoded(side, says):
    start = encode(np.zeros((1, 1), np.uint8))
    header = start[:16] + side.to_bytes(4, "big") * 2 + start[24:29]
    huge = header + zlib.crc32(header[12:]).to_bytes(4, "big") + start[33:]
    with pytest.raises(ValueError, match=f"^{says}$"):
        prepare_image(huge)


def test_noise_repeats_with_its_seed():
    assert torch.equal(make_noise(3), make_noise(3))
    assert not torch.equal(make_noise(3), make_noise(4))
    assert torch.equal(make_noise(), make_noise(0))
    assert make_noise().shape == (28, 28)
