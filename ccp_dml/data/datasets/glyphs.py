"""Letters rendered from the fonts in matplotlib's wheel: many classes without a download."""

import functools
import pathlib
import unicodedata

import matplotlib
import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageFont

from ccp_dml.checks import check_whole_number
from ccp_dml.data.benchmark import Benchmark
from ccp_dml.data.cache import cached_array
from ccp_dml.data.images import LabeledImages

IMAGE_SIZE = 28
"""Height and width of a rendered letter, in pixels."""

FACES = tuple(
    f"DejaVu{family}{style}"
    for family, slanted in [("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic")]
    for style in ("", "-Bold", f"-{slanted}", f"-Bold{slanted}")
)
"""The text faces that letters are rendered in."""

# Letters are drawn at twice the size of the images, on a canvas with room to rotate them.
_CANVAS = 2 * IMAGE_SIZE
_FONT_SIZE = 38
_CATEGORIES = ("Lu", "Ll", "Lo")
# Part of the key of the cached images: increase it with every change of what is drawn.
_RENDERER_VERSION = 1


def glyphs(
    train_letters: int = 400, samples_per_letter: int = 20, tuning_letters: int = 0
) -> Benchmark:
    """Loads letters in the faces of the DejaVu fonts, 28 × 28 grey pixels in 0…1.

    400 letters are for training and 349 others for testing; see `ccp_dml.data.render_letters`. A
    training set of fewer letters or samples is a subset of a larger one; the test set, 20 images of
    each letter, is always the same. With `tuning_letters`, other letters take its place, to choose
    settings on.

    Args:
        train_letters: Number of training letters, 2 to 400: the first ones. Defaults to 400.
        samples_per_letter: Images of each training letter, at least 2. Defaults to 20.
        tuning_letters: Number of letters to test on instead of the 349: the last ones of the 400,
            which are then not trained on. Defaults to 0: the 349.

    Raises:
        ValueError: If an argument is out of range or not a whole number.
    """
    groups = letter_groups()
    most = len(groups["train"])
    train_letters = check_whole_number("train_letters", train_letters, least=2, most=most)
    samples_per_letter = check_whole_number(
        "samples_per_letter", samples_per_letter, least=2, most=1000
    )
    tuning_letters = check_whole_number(
        "tuning_letters", tuning_letters, least=0, most=most - train_letters
    )
    training_letters = groups["train"][:train_letters]
    test_letters = groups["train"][most - tuning_letters :] if tuning_letters else groups["test"]
    test = load_letters(test_letters, samples_per_letter=20, seed=0)
    return Benchmark(
        train=load_letters(training_letters, samples_per_letter, seed=0),
        test=test.with_labels(test.labels + train_letters),
        class_names=training_letters + test_letters,
    )


@functools.cache
def letters() -> tuple[str, ...]:
    """Returns the letters that all faces have, in the order of their code points.

    Of letters with the same outlines in every family, such as the Latin, Greek and Cyrillic capital
    B, only the first is used: no network could tell them apart.
    """
    # Imported here because letters that were rendered before are read from the cache.
    from fontTools.pens.recordingPen import DecomposingRecordingPen
    from fontTools.ttLib import TTFont

    def trace_outline(font, point):
        glyphs = font.getGlyphSet()
        pen = DecomposingRecordingPen(glyphs)
        glyphs[font.getBestCmap()[point]].draw(pen)
        return tuple(pen.value)

    fonts = [TTFont(_font_path(face)) for face in FACES]
    common = set.intersection(*(set(font.getBestCmap()) for font in fonts))
    upright = [font for font, face in zip(fonts, FACES, strict=True) if "-" not in face]
    first_of = {}
    for point in sorted(common):
        if unicodedata.category(chr(point)) in _CATEGORIES:
            outlines = tuple(trace_outline(font, point) for font in upright)
            first_of.setdefault(outlines, chr(point))
    return tuple(first_of.values())


def letter_groups() -> dict[str, tuple[str, ...]]:
    """Divides the letters into three disjoint groups, always the same.

    Returns:
        `"pretrain"`, 500 letters to pretrain networks on; `"train"`, 400; and `"test"`, the others.
    """
    shuffled = np.random.default_rng(0).permutation(letters()).tolist()
    bounds = {"pretrain": (0, 500), "train": (500, 900), "test": (900, None)}
    return {group: tuple(shuffled[slice(*bound)]) for group, bound in bounds.items()}


def render_letters(
    characters: tuple[str, ...], samples_per_letter: int, seed: int
) -> LabeledImages:
    """Renders letters with random face, size, pose, shear, contrast and noise.

    The samples of a letter depend only on the letter and the seed, so that a set with more letters
    or more samples contains the smaller one.

    Args:
        characters: The letters; each is a class.
        samples_per_letter: Number of images of each letter.
        seed: Determines the images.

    Returns:
        Grey images in 0…1, float32 `(n, 28, 28, 1)`, n = `len(characters) · samples_per_letter`,
        the samples of a letter next to each other, and as labels the positions in `characters`.

    Raises:
        ValueError: If `samples_per_letter` is not positive, or one of `characters` is not a single
            character.

    Example:

    >>> render_letters(("a", "ß"), samples_per_letter=3, seed=0).images.shape
    (6, 28, 28, 1)
    """
    check_whole_number("samples_per_letter", samples_per_letter, 1)
    images = np.empty((len(characters), samples_per_letter, IMAGE_SIZE, IMAGE_SIZE), "float32")
    for row, character in enumerate(characters):
        if len(character) != 1:
            raise ValueError(f"characters must be single characters; got {character!r}")
        for sample in range(samples_per_letter):
            generator = np.random.default_rng([seed, ord(character), sample])
            images[row, sample] = _render(character, generator)
    labels = np.repeat(np.arange(len(characters)), samples_per_letter)
    return LabeledImages(images.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 1), labels)


def load_letters(characters: tuple[str, ...], samples_per_letter: int, seed: int) -> LabeledImages:
    """Renders letters like `render_letters`, and keeps them in `cache_folder()`.

    Args:
        characters: See `render_letters`.
        samples_per_letter: See `render_letters`.
        seed: See `render_letters`.

    Returns:
        See `render_letters`.

    Raises:
        ValueError: See `render_letters`.
    """
    key = {
        "renderer": _RENDERER_VERSION,
        # The fonts come from matplotlib and the rasteriser from Pillow.
        "matplotlib": matplotlib.__version__,
        "pillow": PIL.__version__,
        "characters": list(characters),
        "samples_per_letter": samples_per_letter,
        "seed": seed,
    }
    images = cached_array(
        "glyphs", key, lambda: render_letters(characters, samples_per_letter, seed).images
    )
    return LabeledImages(images, np.repeat(np.arange(len(characters)), samples_per_letter))


def _render(character, generator):
    face = FACES[generator.integers(len(FACES))]
    angle, shear = generator.uniform(-0.25, 0.25, 2)
    size = generator.uniform(0.7, 1.25)
    stretch = generator.uniform(0.85, 1.15)
    shift = generator.uniform(-3, 3, 2)
    # From the coordinates of the image to those of the canvas, about its centre.
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag([1 / (size * stretch), 1 / size])
    center = np.full(2, (_CANVAS - 1) / 2)
    offset = center - matrix @ (center + shift)
    coefficients = np.column_stack([matrix, offset]).ravel().tolist()
    moved = _draw_letter(character, face).transform(
        (_CANVAS, _CANVAS), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    ink = np.asarray(moved.reduce(2), "float32") / 255
    paper, contrast = generator.uniform(0, 0.3), generator.uniform(0.4, 0.7)
    noise = generator.uniform(0.02, 0.1) * generator.standard_normal(ink.shape, "float32")
    return np.clip(paper + contrast * ink + noise, 0, 1)


@functools.lru_cache(maxsize=20_000)
def _draw_letter(character, face):
    """Draws a letter in a face, white on black, in the middle of the canvas."""
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    middle = _CANVAS / 2
    ImageDraw.Draw(canvas).text((middle, middle), character, 255, _load_font(face), anchor="mm")
    return canvas


@functools.cache
def _load_font(face):
    return ImageFont.truetype(_font_path(face), _FONT_SIZE)


def _font_path(face):
    return pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
