"""A small folder of images, and what is logged about it."""

import logging

import pytest
from absl import logging as absl_logging

from tests.data.datasets.shoes import SIZES
from tests.data.pictures import write_classes


@pytest.fixture
def shoes(tmp_path):
    write_classes(tmp_path / "shoes", SIZES)
    return tmp_path / "shoes"


@pytest.fixture
def warnings_of(caplog, monkeypatch):
    monkeypatch.setattr(absl_logging.get_absl_logger(), "propagate", True)
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]
