import hashlib
import unicodedata

import matplotlib
import numpy as np
import PIL
import pytest

from ccp_dml.data import letter_groups, load, load_letters, render_letters
from ccp_dml.data.datasets import glyphs


def test_letters_are_many_and_distinct():
    letters = glyphs.letters()
    assert len(glyphs.FACES) == 12
    assert len(letters) == len(set(letters)) == 1249
    assert {unicodedata.category(letter) for letter in letters} <= {"Lu", "Ll", "Lo"}
    # Latin, Greek and Cyrillic capital B have the same outlines, so only one is a class.
    assert "B" in letters
    assert not {"\N{GREEK CAPITAL LETTER BETA}", "\N{CYRILLIC CAPITAL LETTER VE}"} & set(letters)


def test_groups_have_no_letter_in_common():
    groups = letter_groups()
    assert {group: len(members) for group, members in groups.items()} == {
        "pretrain": 500,
        "train": 400,
        "test": 349,
    }
    assert sorted(sum(groups.values(), ())) == sorted(glyphs.letters())


def test_images_are_fixed_by_the_seed_and_do_not_depend_on_the_others():
    many = render_letters(("a", "б", "Σ"), samples_per_letter=4, seed=1)
    few = render_letters(("Σ",), samples_per_letter=2, seed=1)
    assert many.images.dtype == "float32"
    np.testing.assert_array_equal(many.labels, np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(few.images, many.images[8:10])
    assert (render_letters(("Σ",), 2, seed=2).images != few.images).any()
    distinct = {hashlib.sha256(image.tobytes()).digest() for image in many.images}
    assert len(distinct) == 12


def test_letters_are_inside_the_image_and_have_contrast():
    images = render_letters(glyphs.letters()[::25], samples_per_letter=6, seed=0).images[..., 0]
    assert images.min() >= 0
    assert images.max() <= 1
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]])
    inside = images[:, 7:21, 7:21]
    assert border.std() < 0.15
    assert np.median(inside.max((1, 2)) - np.median(images, (1, 2))) > 0.4


def test_faces_vary():
    drawn = {glyphs._draw_letter("g", face).tobytes() for face in glyphs.FACES}
    assert len(drawn) == 12


def test_the_benchmark():
    benchmark = load("glyphs")
    assert benchmark.train.num_classes == 400
    assert benchmark.test.num_classes == 349
    assert len(benchmark.train) == 8000
    assert benchmark.test.images.shape == (6980, 28, 28, 1)


def test_parameters_take_a_part_of_the_training_set():
    whole = load("glyphs")
    part = load("glyphs", train_letters=50, samples_per_letter=10.0)
    positions = np.arange(50)[:, None] * 20 + np.arange(10)
    np.testing.assert_array_equal(part.train.images, whole.train.images[positions.ravel()])
    np.testing.assert_array_equal(part.train.labels, np.repeat(np.arange(50), 10))
    np.testing.assert_array_equal(part.test.images, whole.test.images)


def test_tuning_letters_are_neither_trained_nor_tested_on():
    whole = load("glyphs")
    tuned = load("glyphs", train_letters=300, tuning_letters=100)
    np.testing.assert_array_equal(tuned.test.images, whole.train.images[300 * 20 :])
    np.testing.assert_array_equal(tuned.test.labels, np.repeat(np.arange(300, 400), 20))
    np.testing.assert_array_equal(tuned.train.images, whole.train.images[: 300 * 20])
    assert tuned.class_names == tuple(letter_groups()["train"])


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "glyphs",
            {"train_letters": 250, "tuning_letters": 151},
            "tuning_letters must be a whole number from 0 to 150; got 151",
        ),
        ("glyphs", {"train_letters": 401}, "from 2 to 400; got 401"),
        ("glyphs", {"train_letters": 1}, "from 2 to 400; got 1"),
        ("glyphs", {"train_letters": 2.5}, "a whole number from 2 to 400; got 2.5"),
        ("glyphs", {"samples_per_letter": float("nan")}, "samples_per_letter must be .* got nan"),
        ("glyphs", {"letters": 3}, "'letters'; it takes train_letters, samples_per_letter"),
        ("digits", {"train_letters": 3}, "digits has no parameter 'train_letters'; it takes none"),
    ],
)
def test_wrong_parameters_are_named(name, params, message):
    with pytest.raises(ValueError, match=message):
        load(name, **params)


def test_rendered_letters_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CCP_DML_CACHE", str(tmp_path))
    rendered = render_letters(("a", "b"), 3, seed=0)
    for _ in range(2):
        loaded = load_letters(("a", "b"), 3, seed=0)
        np.testing.assert_array_equal(loaded.images, rendered.images)
        np.testing.assert_array_equal(loaded.labels, rendered.labels)
        monkeypatch.setattr(glyphs, "_render", None)  # The second time nothing is rendered.
    assert len(list(tmp_path.iterdir())) == 1


def test_what_determines_the_pixels_is_in_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("CCP_DML_CACHE", str(tmp_path))

    def files():
        return len(list(tmp_path.iterdir()))

    for count, arguments in enumerate(
        [(("a", "b"), 2, 0), (("b", "a"), 2, 0), (("a", "b"), 3, 0), (("a", "b"), 2, 1)], start=1
    ):
        load_letters(*arguments)
        assert files() == count
    for count, (where, name) in enumerate(
        [(glyphs, "_RENDERER_VERSION"), (matplotlib, "__version__"), (PIL, "__version__")], start=5
    ):
        with monkeypatch.context() as changed:
            changed.setattr(where, name, "another")
            load_letters(("a", "b"), 2, 0)
        assert files() == count


def test_wrong_arguments_are_named():
    with pytest.raises(
        ValueError, match="samples_per_letter must be a whole number of at least 1; got 0"
    ):
        render_letters(("a",), 0, seed=0)
    with pytest.raises(ValueError, match="single characters; got 'ab'"):
        render_letters(("ab",), 1, seed=0)
