"""Which preset and method are recommended."""

import numpy as np
import pytest

from ccp_dml.data import Benchmark, LabeledImages
from ccp_dml.experiment.recommendation import recommend
from ccp_dml.experiment.settings import Settings


def benchmark(classes, size, channels):
    labels = np.repeat(np.arange(classes), size)
    images = LabeledImages(np.zeros((len(labels), 4, 4, channels), "float32"), labels)
    return Benchmark(images, images)


@pytest.mark.parametrize(
    ("dataset", "classes", "size", "channels", "flags", "reason"),
    [
        ("sop", 200, 5, 3, "--preset=paper --method=plain,ccp", "SOP is in the paper's tables"),
        ("glyphs", 200, 10, 1, "--preset=small_images --method=plain,ccp", "one channel"),
        ("digits", 100, 9, 1, "--preset=small_images --method=plain,ccp", "the more CCP gained"),
        ("folder", 99, 2, 3, "--preset=fine_tune --method=plain,ccp", "ImageNet weights"),
        ("folder", 99, 4, 3, "--preset=fine_tune --method=plain,ccp", "CCP gained little"),
        ("folder", 500, 4, 3, "--preset=fine_tune --method=plain,ccp", "at most 4 images"),
        ("folder", 500, 1, 3, "--preset=fine_tune --method=plain", "too few for CCP"),
    ],
)
def test_it_is_recommended_for_a_reason(dataset, classes, size, channels, flags, reason):
    text = recommend(benchmark(classes, size, channels), Settings(dataset=dataset))
    first, *reasons = text.splitlines()
    assert first == f"recommended: {flags}"
    assert reason in "\n".join(reasons)
