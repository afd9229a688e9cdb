import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from ccp_dml.data import Preprocessing
from ccp_dml.data.preprocessing import (
    area_box,
    crop_center,
    evaluation_image,
    side_box,
    training_image,
)
from tests.data.pictures import encoded, gradient


def seeds(count):
    return [tf.constant([number, 7], tf.int64) for number in range(count)]


def naive_resize(pixels, size):
    """Bilinear interpolation between the centres of pixels, one output pixel at a time."""
    pixels = pixels.astype("float64")
    height, width = pixels.shape[:2]
    resized = np.empty((size, size, 3))
    for row in range(size):
        for column in range(size):
            y = (row + 0.5) * height / size - 0.5
            x = (column + 0.5) * width / size - 0.5
            top, left = int(np.floor(y)), int(np.floor(x))
            total = 0
            for py, wy in [(top, top + 1 - y), (top + 1, y - top)]:
                for px, wx in [(left, left + 1 - x), (left + 1, x - left)]:
                    inside = np.clip(py, 0, height - 1), np.clip(px, 0, width - 1)
                    total = total + wy * wx * pixels[inside]
            resized[row, column] = total
    return resized


@pytest.mark.parametrize("shape", [(375, 500), (500, 300), (40, 1000), (7, 5), (1, 1)])
def test_area_boxes_are_as_large_and_as_wide_as_allowed(shape):
    boxes = np.array([area_box(tf.constant(shape), seed) for seed in seeds(300)])
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (top + height <= shape[0]).all()
    assert (left + width <= shape[1]).all()
    if min(shape) >= 300:
        area = height * width / np.prod(shape)
        assert 0.155 <= area.min() < 0.25
        assert 0.7 < area.max() <= 1
        aspect = width / height
        assert 0.74 <= aspect.min() < 0.8
        assert 1.25 < aspect.max() <= 1.35
        assert top.min() <= 2
        assert (top + height).max() >= shape[0] - 3


def test_side_boxes_are_squares_of_40_to_256_of_256():
    shape = (512, 700)
    boxes = np.array([side_box(tf.constant(shape), seed) for seed in seeds(400)])
    top, left, height, width = boxes.T
    np.testing.assert_array_equal(height, width)
    assert 80 <= height.min() < 100
    assert 495 < height.max() <= 512
    # Uniform: as many below the middle of 80…512 as above it.
    assert abs(np.mean(height < 296) - 0.5) < 0.1
    assert (top + height <= 512).all()
    assert (left + width).max() <= 700
    assert (left + width).max() > 650
    np.testing.assert_array_equal(side_box(tf.constant([1, 3]), seeds(1)[0])[2:], [1, 1])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("crop", ["area", "side"])
def test_training_images_are_the_resized_box_flipped_or_not(kind, crop):
    contents = encoded(gradient(60, 80), kind)
    whole = np.asarray(Image.open(io.BytesIO(contents)))
    box_of = {"area": area_box, "side": side_box}[crop]
    flips = []
    for seed in seeds(12):
        image = training_image(contents, seed, Preprocessing(24, crop=crop)).numpy()
        top, left, height, width = box_of(tf.constant([60, 80]), seed).numpy()
        # A box of 48 pixels or more is decoded at half the resolution, which is compared below.
        if min(height, width) >= 48:
            continue
        expected = naive_resize(whole[top : top + height, left : left + width], 24)
        errors = [np.abs(image - expected[:, ::step]).max() for step in (1, -1)]
        assert min(errors) < (1e-3 if kind == "PNG" else 6)
        flips.append(errors[1] < errors[0])
    assert len(flips) >= 3
    assert 0 < np.mean(flips) < 1


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_large_boxes_of_jpegs_are_averages(factor):
    # A chequerboard of single pixels turns grey if it is averaged, but not if pixels are skipped.
    board = np.indices((factor * 64, factor * 64)).sum(axis=0) % 2
    pixels = np.repeat(255 * board[..., None], 3, axis=2).astype("uint8")
    contents = encoded(pixels, quality=100)
    checked = 0
    for seed in seeds(20):
        box = area_box(tf.constant(board.shape), seed).numpy()
        if min(box[2:]) >= factor * 32:
            image = training_image(contents, seed, Preprocessing(32)).numpy()
            np.testing.assert_allclose(image, 127.5, atol=4)
            checked += 1
    assert checked > 3


def test_flips_are_even():
    left_white = np.zeros((16, 16, 3), "uint8")
    left_white[:, :8] = 255
    contents = encoded(left_white, "PNG")
    flipped = [
        training_image(contents, seed, Preprocessing(16)).numpy()[:, 0].mean()
        < training_image(contents, seed, Preprocessing(16)).numpy()[:, -1].mean()
        for seed in seeds(200)
    ]
    assert abs(np.mean(flipped) - 0.5) < 0.12


@pytest.mark.parametrize(("height", "width"), [(300, 420), (420, 300), (300, 300)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_evaluation_images_are_resized_centre_crops(height, width, kind):
    contents = encoded(gradient(height, width), kind)
    whole = Image.open(io.BytesIO(contents))
    # Pillow widens its bilinear filter as shrinking requires.
    resized = np.asarray(whole.resize((width // 3, height // 3), Image.Resampling.BILINEAR))
    top, left = (height // 3 - 90) // 2, (width // 3 - 90) // 2
    expected = resized[top : top + 90, left : left + 90].astype(int)
    image = evaluation_image(contents, Preprocessing(90, resize_size=100)).numpy()
    assert image.dtype == "uint8"
    assert np.abs(image - expected).max() <= 6


def test_evaluation_enlarges_small_images():
    pixels = gradient(20, 20)
    image = evaluation_image(encoded(pixels, "PNG"), Preprocessing(40, resize_size=40)).numpy()
    np.testing.assert_allclose(image, naive_resize(pixels, 40), atol=0.51)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3000), (3000, 3)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_images_of_any_shape_outside_a_pipeline(kind, shape):
    contents = encoded(np.full((*shape, 3), 102, "uint8"), kind)
    preprocessing = Preprocessing(8)
    for image in (
        evaluation_image(contents, preprocessing),
        evaluation_image(contents, preprocessing, portable=False),
        training_image(contents, seeds(1)[0], preprocessing),
    ):
        np.testing.assert_allclose(image, np.full((8, 8, 3), 102), atol=1)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(375, 500, 227), (601, 803, 224), (480, 641, 64), (333, 500, 32), (1001, 1501, 100)],
)
def test_evaluation_of_reduced_jpegs_is_in_place(height, width, size):
    # Smooth enough to lose nothing at an eighth of the resolution, but with edges everywhere.
    coarse = np.random.default_rng(0).integers(0, 256, (height // 40, width // 40, 3), "uint8")
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    contents = encoded(np.asarray(smooth))
    preprocessing = Preprocessing(size)
    side = size / preprocessing.shorter_side * min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    expected = Image.open(io.BytesIO(contents)).resize(
        (size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
    )
    image = evaluation_image(contents, preprocessing).numpy().astype(float)
    inside = np.abs(image - np.asarray(expected))[2:-2, 2:-2]
    # The error is three times as large if the image is half an input pixel out of place.
    assert inside.mean() < 1.5


def test_the_filter_reaches_beyond_the_crop():
    # The pixels around the crop are white: they brighten the border of the result, and no more.
    pixels = np.full((256, 256, 3), 255, "uint8")
    pixels[32:224, 32:224] = 0
    image = evaluation_image(encoded(pixels, "PNG"), Preprocessing(12, resize_size=16)).numpy()
    assert (image[0] > 10).all()
    assert (image[1:-1, 1:-1] == 0).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_other_modes_become_red_green_and_blue(mode):
    picture = Image.fromarray(gradient(30, 30)).convert(mode)
    file = io.BytesIO()
    picture.save(file, "PNG")
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture.convert("RGBA"))
    expected = np.asarray(picture.convert("RGB"), int)
    image = evaluation_image(file.getvalue(), Preprocessing(30, resize_size=30)).numpy()
    assert np.abs(image - expected).max() <= 1


def test_grey_and_progressive_jpegs():
    grey = np.asarray(Image.fromarray(gradient(40, 40)).convert("L"))
    for contents in (encoded(grey), encoded(gradient(40, 40), progressive=True)):
        expected = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"), int)
        image = evaluation_image(contents, Preprocessing(40, resize_size=40)).numpy()
        assert np.abs(image - expected).max() <= 6
        assert training_image(contents, seeds(1)[0], Preprocessing(8)).shape == (8, 8, 3)


def naive_square(pixels, color):
    """A picture in the middle of a square of one colour."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    square = np.broadcast_to(np.array(color, "uint8"), (side, side, 3)).copy()
    # If the number of added rows is odd, the extra one is above; that of columns is on the left.
    top, left = -((height - side) // 2), -((width - side) // 2)
    square[top : top + height, left : left + width] = pixels
    return square


@pytest.mark.parametrize(("height", "width"), [(40, 90), (91, 40), (1, 60), (60, 60), (33, 1)])
def test_padded_evaluation_sees_the_whole_square(height, width):
    pixels = gradient(height, width)
    square = Image.fromarray(naive_square(pixels, (0, 0, 255)))
    preprocessing = Preprocessing(24, fit="pad", background="blue")
    expected = np.asarray(square.resize((24, 24), Image.Resampling.BILINEAR), int)
    image = evaluation_image(encoded(pixels, "PNG"), preprocessing).numpy()
    assert np.abs(image - expected).max() <= 1
    (cropped,) = crop_center(tf.constant(pixels[np.newaxis]), preprocessing).numpy()
    np.testing.assert_array_equal(cropped, image)


@pytest.mark.parametrize("crop", ["area", "side"])
@pytest.mark.parametrize(("height", "width"), [(40, 90), (91, 40), (1, 60)])
def test_padded_training_sees_boxes_of_the_square(crop, height, width):
    pixels = gradient(height, width)
    square = naive_square(pixels, (255, 128, 0))
    box_of = {"area": area_box, "side": side_box}[crop]
    preprocessing = Preprocessing(24, crop=crop, fit="pad", background="#ff8000", flip=False)
    for seed in seeds(5):
        top, left, box_height, box_width = box_of(tf.constant(square.shape[:2]), seed).numpy()
        box = square[top : top + box_height, left : left + box_width]
        image = training_image(encoded(pixels, "PNG"), seed, preprocessing)
        np.testing.assert_allclose(image, naive_resize(box, 24), atol=2e-3)
        again = training_image(encoded(pixels, "PNG"), seed, preprocessing)
        np.testing.assert_array_equal(image, again)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_turned_files_give_what_upright_files_give(orientation, fit, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = gradient(40, 64)
    turned = ImageOps.exif_transpose(
        Image.open(io.BytesIO(encoded(stored, "PNG", exif=exif.tobytes())))
    )
    # So large that JPEGs are decoded at their full resolution.
    preprocessing = Preprocessing(33, fit=fit)
    contents = encoded(stored, kind, exif=exif.tobytes())
    upright = encoded(np.asarray(turned), kind)
    tolerance = 7 if kind == "JPEG" else 1
    difference = evaluation_image(contents, preprocessing).numpy().astype(int)
    difference -= evaluation_image(upright, preprocessing).numpy()
    assert np.abs(difference).max() <= tolerance
    for seed in seeds(3):
        image = training_image(contents, seed, preprocessing)
        assert np.abs(image - training_image(upright, seed, preprocessing)).max() <= tolerance


def test_boxes_of_other_areas():
    boxes = np.array([area_box(tf.constant([400, 400]), seed, (0.5, 0.6)) for seed in seeds(50)])
    area = boxes[:, 2] * boxes[:, 3] / 400**2
    assert area.min() >= 0.49
    assert area.max() <= 0.61


def test_grey_inputs_are_the_luminance():
    pixels = gradient(30, 30)
    color, grey = (Preprocessing(30, resize_size=30, channels=channels) for channels in (3, 1))
    image = evaluation_image(encoded(pixels, "PNG"), grey).numpy()
    assert image.shape == (30, 30, 1)
    luminance = evaluation_image(encoded(pixels, "PNG"), color).numpy() @ [0.299, 0.587, 0.114]
    assert np.abs(image[..., 0] - luminance).max() <= 0.501


def test_preprocessing_in_a_graph_has_static_shapes():
    preprocessing = Preprocessing(16)
    contents = tf.constant(encoded(gradient(30, 40)))
    trained = tf.function(lambda seed: training_image(contents, seed, preprocessing))
    assert trained.get_concrete_function(seeds(1)[0]).output_shapes == (16, 16, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "image_size must be a whole number of at least 1; got 0"),
        ({"image_size": 64, "resize_size": 60}, "at least image_size, 64; got 60"),
        ({"image_size": 64, "resize_size": 64.5}, "at least image_size, 64; got 64.5"),
        ({"crop": "center"}, "crop must be one of area, side; got 'center'"),
        ({"fit": "stretch"}, "fit must be one of crop, pad; got 'stretch'"),
        ({"background": "blurple"}, "background must be the name of a colour, .* got 'blurple'"),
        ({"background": "#ff00ff80"}, "such as white, or #rrggbb; got '#ff00ff80'"),
        ({"crop_area": (0.5, 0.2)}, "crop_area must be two numbers above 0 up to 1, .* 0.5,0.2"),
        ({"crop_area": (0.5, 1.5)}, "the smaller first; got 0.5,1.5"),
        ({"channels": 2}, "channels must be 1 or 3; got 2"),
        ({"channels": 1, "scaling": "bgr"}, "scaling of grey images must be one of unit, sym"),
        ({"scaling": "rgb"}, "scaling must be one of unit, symmetric, raw, torch, bgr; got 'rgb'"),
    ],
)
def test_wrong_preprocessing_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**arguments)
