"""Turn any picture into an input of the net: 28 × 28 pixels in [0, 1], bright on black, centred.

``images.js`` does the same in the page, so that a saved page needs no kernel; the tests compare the two. The order of
the steps follows the data set's own: gray, inverted, cropped, resized, centred (https://arxiv.org/abs/1708.07747).
"""

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

SIZE = 28
MAX_PIXELS = 50_000_000  # a larger picture would take gigabytes to decode
LONG_SIDE = 1024  # a larger picture is reduced first
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WebP")


def prepare_image(image):
    """Return ``(X, steps)``: X float32 of shape (28, 28) in [0, 1], and the steps on the way as ``(caption, array)``.

    ``image`` is the path or the bytes of a picture file, a PIL image, or an array or tensor of shape (H, W), (1, H, W)
    or (H, W, 3), uint8 or in [0, 1]. Raises ValueError if it is no picture, cannot be read, is damaged or has more than
    50 million pixels.
    """
    original = read_image(image)
    height, width = original.shape[:2]
    steps = [(f"original, {width} × {height}", original)]
    pixels = original if original.ndim == 2 else original @ np.array([0.299, 0.587, 0.114])
    steps.append(("gray", pixels))
    if border_mean(pixels) > 0.5:
        pixels = 1 - pixels
        steps.append(("inverted: the ground is bright", pixels))
    if pixels.shape != (SIZE, SIZE):
        pixels = crop(stretch(pixels))
        steps.append(("contrast stretched, cropped", pixels))
        pixels = fit(pixels)
        steps.append((f"resized and centred, {SIZE} × {SIZE}", pixels))
    return torch.tensor(pixels.clip(0, 1), dtype=torch.float32), steps


def make_noise(seed=0):
    """Return a float32 tensor of shape (28, 28): every pixel drawn uniformly from [0, 1)."""
    return torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def read_image(image):
    """Return a picture as a float64 array in [0, 1] of shape (H, W) or (H, W, 3), see ``prepare_image``."""
    if isinstance(image, torch.Tensor | np.ndarray):
        return _read_array(np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image))
    if not isinstance(image, Image.Image):
        source = image if isinstance(image, str | Path) else io.BytesIO(image)
        with _telling_what_to_do(source):
            image = Image.open(source, formats=FORMATS)
    check_size(*image.size)
    with _telling_what_to_do(image):
        image = ImageOps.exif_transpose(image).convert("RGBA")
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(image, dtype=float) / 255
    alpha = pixels[:, :, 3:]
    return pixels[:, :, :3] * alpha + (1 - alpha)  # what is transparent shows white paper


@contextlib.contextmanager
def _telling_what_to_do(source):
    """Turn whatever Pillow raises for a picture into a ValueError that says what to do."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ValueError(f"{source} cannot be read ({error.strerror}); give the path of a picture file") from None
    except UnidentifiedImageError:
        raise ValueError("this is no picture that can be read; take a PNG, JPEG, GIF, BMP or WebP file") from None
    except Image.DecompressionBombError:
        raise ValueError(f"this picture has far more than {MAX_PIXELS:,} pixels; make it smaller") from None
    except Exception as error:  # its decoders raise errors of many kinds for damaged files
        raise ValueError(f"this picture is damaged: {error}; take another file") from error


def _read_array(array):
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or array.size == 0:
        raise ValueError(f"a picture has the shape (H, W), (1, H, W) or (H, W, 3), not {array.shape}")
    check_size(array.shape[1], array.shape[0])
    array = array / 255 if array.dtype == np.uint8 else array.astype(float)
    if not (array.min() >= 0 and array.max() <= 1):  # NaN fails this, too
        raise ValueError(f"pixels must be uint8 or lie in [0, 1]; these go from {array.min():.3g} to {array.max():.3g}")
    return array


def check_size(width, height):
    """Raise ValueError for a picture that is too large to decode."""
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"this picture has {width:,} × {height:,} pixels; at most {MAX_PIXELS:,} are read: make it smaller"
        )


def border_mean(pixels):
    """Return the mean of the outermost rows and columns: the brightness of the ground."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]).mean()


def stretch(pixels):
    """Return the pixels scaled so that the darkest is 0 and the brightest 1; zeros if all are equal."""
    low, high = pixels.min(), pixels.max()
    return (pixels - low) / (high - low) if high - low > 1e-6 else np.zeros_like(pixels)


def crop(pixels, threshold=0.1):
    """Return the smallest rectangle that holds every pixel brighter than ``threshold``; all of it if there is none."""
    rows, columns = (np.flatnonzero((pixels > threshold).any(axis)) for axis in (1, 0))
    if len(rows) == 0:
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def fit(pixels):
    """Return the pixels resized to 28 along the longer side, centred on a black square of shape (28, 28)."""
    height, width = pixels.shape
    tall, wide = (max(1, int(SIZE * side / max(height, width) + 0.5)) for side in (height, width))
    top, left = (SIZE - tall) // 2, (SIZE - wide) // 2
    square = np.zeros((SIZE, SIZE))
    square[top : top + tall, left : left + wide] = area_weights(height, tall) @ pixels @ area_weights(width, wide).T
    return square


def area_weights(old, new):
    """Return the (new, old) matrix that averages ``old`` pixels into ``new`` ones, each by the share that it covers."""
    edges = np.arange(new + 1) * old / new
    pixel = np.arange(old)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return covered.clip(0) * new / old
