"""Measured times of training steps."""

import pytest

from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.step_times import measure_times

SMALL = {
    "dataset": "sop",
    "image_size": 12,
    # Times are measured in the same way for any backbone; a large one would only compile longer.
    "backbone": "tests.experiment.small_run:tiny_backbone",
    "embedding_size": 4,
    "loss": "triplet",
}


@pytest.mark.both_backends(slow=True)
def test_every_method_has_a_time():
    settings = {
        method: Settings(**SMALL, method=(method,), memory_batches=2, memory_start_step=0)
        for method in ("plain", "ccp", "xbm")
    }
    times = measure_times(settings, num_classes=10)
    assert list(times.steps) == ["plain", "ccp", "xbm"]
    assert all(milliseconds > 0 for milliseconds in (*times.steps.values(), times.embedding))
    assert times.step_time("dvml") == times.step_time("plain")
    assert times.source.startswith("measured on this machine")


@pytest.mark.both_backends
def test_only_images_in_files_are_measured():
    with pytest.raises(ValueError, match="for images in files; got digits"):
        measure_times({"plain": Settings()}, num_classes=10)
