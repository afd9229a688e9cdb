import numpy as np
import pytest
from keras.ops import convert_to_numpy

from ccp_dml.randomness import permute, stream_of


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 17, 100, 4321])
def test_a_permutation_takes_every_value_once(size):
    points = np.arange(size, dtype="int32")
    for seed in range(3):
        values = convert_to_numpy(permute(points, size, seed, stream=7))
        assert sorted(values) == points.tolist()


@pytest.mark.both_backends(slow=True)
def test_a_point_does_not_depend_on_the_others():
    whole = convert_to_numpy(permute(np.arange(1000, dtype="int32"), 1000, 5, stream=0))
    some = convert_to_numpy(permute(np.array([999, 3, 500], "int32"), 1000, 5, stream=0))
    np.testing.assert_array_equal(some, whole[[999, 3, 500]])


def test_seeds_and_streams_give_other_permutations():
    points = np.arange(100, dtype="int32")
    permutations = {
        tuple(permute(points, 100, seed, stream).numpy()) for seed in range(5) for stream in (0, 9)
    }
    assert len(permutations) == 10


def test_neighbours_are_not_neighbours_afterwards():
    values = permute(np.arange(10_000, dtype="int32"), 10_000, 0, stream=0).numpy().astype(int)
    steps = np.abs(np.diff(values))
    # The steps of a random permutation have mean size / 3, here with a standard deviation of 24.
    assert abs(steps.mean() - 10_000 / 3) < 120
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.05


def test_streams_are_of_a_purpose_and_a_seed():
    streams = {stream_of(purpose, seed) for purpose in "ab" for seed in (0, 1, 2**32 - 1)}
    assert len(streams) == 6
    assert all(0 <= stream < 2**31 for stream in streams)
