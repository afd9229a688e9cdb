"""Files for the embedding projector, read back as TensorBoard's plugin reads them."""

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector

from ccp_dml.report import embedding_projector, write_projector
from ccp_dml.report.embedding_map import choose_mapped
from tests.report.retrieval_cases import make_retrievers, make_samples


def read(folder):
    config = projector.ProjectorConfig()
    text_format.Parse((folder / "projector_config.pbtxt").read_text(), config)
    (shown,) = config.embeddings
    values = np.loadtxt(folder / shown.tensor_path, delimiter="\t", ndmin=2)
    names = (folder / shown.metadata_path).read_text().splitlines()
    sprite = Image.open(folder / shown.sprite.image_path)
    return values, names, sprite, list(shown.sprite.single_image_dim)


@pytest.mark.parametrize("most", [1000, 30])
def test_what_the_projector_shows(most, tmp_path, generator, monkeypatch):
    monkeypatch.setattr(embedding_projector, "_MAX_SAMPLES", most)
    labels, gallery_labels = generator.integers(0, 6, 40), generator.integers(0, 6, 30)
    samples = make_samples(labels, gallery_labels, [f"class\t{label}\n" for label in range(6)])
    (retriever,) = make_retrievers(samples, generator, noise=[1.0])
    write_projector(tmp_path, retriever.embeddings, samples)
    values, names, sprite, (width, height) = read(tmp_path)
    rows = choose_mapped(samples.all_labels, most)
    np.testing.assert_allclose(values, retriever.embeddings[rows], atol=1e-5)
    # A name takes one line, whatever it contains.
    assert names == [f"class {label}" for label in samples.all_labels[rows]]
    assert (width, height) == (8, 8)
    columns = sprite.width // width
    for place, label in enumerate(samples.all_labels[rows]):
        corner = width * (place % columns), height * (place // columns)
        assert sprite.getpixel(corner) == label
    # As many rows as columns, and no more than needed.
    assert columns == sprite.height // height
    assert (columns - 1) ** 2 < len(rows) <= columns**2
