"""Pictures that tests write to files."""

import io

import numpy as np
from PIL import Image


def gradient(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture, uint8 `(height, width, 3)`, which JPEG keeps almost as it is."""
    phases = np.random.default_rng(seed).uniform(0, 3, 3)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(3 * x / width + phase) + np.cos(2 * y / height + phase) for phase in phases]
    return (127 + 60 * np.stack(waves, axis=-1)).astype("uint8")


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options) -> bytes:
    """Pixels as the bytes of an image file."""
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def write_classes(
    folder, sizes: dict[str, int], height: int = 24, width: int = 32, contrast: float = 1.0
):
    """Writes a subfolder of JPEGs for each class, with one colour per class.

    With less `contrast` the colours lie closer together, and noise hides them.
    """
    for place, (name, count) in enumerate(sizes.items()):
        (folder / name).mkdir(parents=True)
        generator = np.random.default_rng(place)
        color = 127 + contrast * (generator.uniform(40, 215, 3) - 127)
        for number in range(count):
            pixels = color + generator.uniform(-20, 20, (height, width, 3))
            pixels = pixels.clip(0, 255).astype("uint8")
            (folder / name / f"{number}.jpg").write_bytes(encoded(pixels))


def patterns(num_classes: int, per_class: int, size: int = 48, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, alike within a class, uint8 `(num_classes * per_class, …, 3)`."""
    generator = np.random.default_rng(seed)

    def draw(cells):
        pixels = 127 + 60 * generator.standard_normal((cells, cells, 3))
        coarse = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
        return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), "float32") - 127

    pictures = []
    for _ in range(num_classes):
        common = draw(4)
        for _ in range(per_class):
            noise = generator.normal(0, 4, (size, size, 3))
            pictures.append((127 + common + 0.4 * draw(6) + noise).clip(0, 255).astype("uint8"))
    return np.stack(pictures)


def near_duplicate(pixels: np.ndarray, kind: str) -> np.ndarray:
    """The picture as somebody else has saved it: `"compressed"`, `"resized"` or `"cropped"`."""
    picture = Image.fromarray(pixels)
    if kind == "compressed":
        return np.asarray(Image.open(io.BytesIO(encoded(pixels, quality=50))))
    if kind == "resized":
        return np.asarray(picture.resize([round(0.7 * side) for side in picture.size]))
    if kind == "cropped":
        return np.asarray(picture.crop((1, 1, picture.width - 1, picture.height - 1)))
    raise ValueError(kind)
