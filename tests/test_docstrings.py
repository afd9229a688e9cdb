"""The examples in the docstrings are run."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import ccp_dml
from ccp_dml.models import EmbeddingModel, small_convnet

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(ccp_dml.__path__, prefix="ccp_dml.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    common = {
        "np": np,
        "keras": keras,
        "EmbeddingModel": EmbeddingModel,
        "small_convnet": small_convnet,
    }
    results = doctest.testmod(module, extraglobs=common, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    examples = [
        example
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        for example in test.examples
    ]
    assert len(examples) > 40
