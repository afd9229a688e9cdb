import numpy as np
import pytest


@pytest.fixture
def samples(generator):
    labels = np.arange(40) % 4
    return (generator.standard_normal((40, 3)) + labels[:, None]).astype("float32"), labels
