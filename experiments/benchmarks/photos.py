"""Synthetic photos for benchmarks."""

import io
import pathlib

import numpy as np
from PIL import Image
from tqdm import tqdm

HEIGHT, WIDTH = 375, 500


def photo(generator: np.random.Generator) -> bytes:
    """A JPEG of 500 × 375 pixels and about 80 kB, like a photo: smooth areas, edges and noise."""
    coarse = generator.uniform(0, 255, (HEIGHT // 25, WIDTH // 25, 3)).astype("uint8")
    smooth = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noise = generator.normal(0, 12, (HEIGHT, WIDTH, 1))
    pixels = np.clip(np.asarray(smooth, "float32") + noise, 0, 255).astype("uint8")
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def write_photos(folder: pathlib.Path, count: int, num_classes: int) -> list[pathlib.Path]:
    """Writes photos into a subfolder for each class; a few hundred differ, the rest repeat them."""
    generator = np.random.default_rng(0)
    photos = [photo(generator) for _ in range(min(count, 256))]
    paths = []
    for number in tqdm(range(count), "writing", unit="file", delay=1):
        path = folder / f"{number % num_classes:05d}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photos[number % len(photos)])
        paths.append(path)
    return paths
