"""A worker on its own; several workers are tested in `test_replicas.py`."""

import numpy as np

from ccp_dml import distribution


def test_one_process_is_the_chief_and_waits_for_nobody(two_replicas):
    numbers = np.array([1.5, np.nan])
    for strategy in (None, two_replicas):
        assert distribution.num_workers(strategy) == 1
        assert distribution.is_chief(strategy)
        assert distribution.sum_over_workers(numbers, strategy) is numbers
        distribution.wait_for_all(strategy)
