import numpy as np
import pytest

from ccp_dml.inference import ConcatenatedEmbedder
from ccp_dml.inference.concatenated_embedder import fingerprint_weights
from tests.data.pictures import encoded, gradient
from tests.inference.embedders import small_embedder


@pytest.fixture
def pictures():
    return [encoded(gradient(20, 30, seed)) for seed in range(5)]


def normalize(vector):
    return vector / max(1.0, np.linalg.norm(vector))


def test_embeddings_stand_side_by_side_and_the_whole_is_normalised(pictures):
    first, second = small_embedder(0, 8), small_embedder(1, 4, image_size=12)
    together = ConcatenatedEmbedder([first, second])
    assert together.embedding_size == 12
    found = together.embed(iter(pictures), batch_size=2)
    parts = first.embed(pictures), second.embed(pictures)
    expected = [normalize(np.concatenate(rows)) for rows in zip(*parts, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == "float32"


def test_a_single_network_is_as_it_is(pictures):
    embedder = small_embedder()
    found = ConcatenatedEmbedder([embedder]).embed(pictures)
    np.testing.assert_array_equal(found, embedder.embed(pictures))


def test_fingerprints_are_of_the_weights(tmp_path):
    embedder = small_embedder()
    embedder.save(tmp_path / "model.keras")
    loaded = ConcatenatedEmbedder.load([tmp_path / "model.keras"])
    assert loaded.fingerprints == [fingerprint_weights(embedder)]
    kernel = embedder.network.weights[0]
    kernel.assign(kernel + np.eye(*kernel.shape) * 1e-6)
    assert loaded.fingerprints != [fingerprint_weights(embedder)]


def test_invalid_input(tmp_path):
    with pytest.raises(ValueError, match="at least one network"):
        ConcatenatedEmbedder([])
    with pytest.raises(ValueError, match=r"each network must be given once; got a.keras, a.keras"):
        ConcatenatedEmbedder.load(["a.keras", "a.keras"])
