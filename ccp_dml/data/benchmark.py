"""A retrieval benchmark: training classes and other classes to test on."""

import dataclasses

from ccp_dml.data.preprocessing import Preprocessing
from ccp_dml.data.samples import LabeledSamples


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A retrieval benchmark: training classes and other classes to test on.

    Attributes:
        train: Samples of the training classes.
        test: Samples of the test classes, none of which is a training class: the queries, each of
            which is compared with all others if there is no gallery.
        gallery: Samples that the queries are compared with. Defaults to `None`.
        class_names: A name for each label. Defaults to `None`.
        validation: Samples that the data set provides for validation, of classes other than the
            test classes. Defaults to `None`.
        notes: Remarks that users should know about the data, in sentences. Defaults to none.
    """

    train: LabeledSamples
    test: LabeledSamples
    gallery: LabeledSamples | None = None
    class_names: tuple[str, ...] | None = None
    validation: LabeledSamples | None = None
    notes: tuple[str, ...] = ()

    def with_preprocessing(self, preprocessing: Preprocessing) -> "Benchmark":
        """Returns the same benchmark with another preprocessing.

        Raises:
            ValueError: See `LabeledSamples.with_preprocessing`.
        """
        parts = {
            name: part.with_preprocessing(preprocessing)
            for name in ("train", "test", "gallery", "validation")
            if (part := getattr(self, name)) is not None
        }
        return dataclasses.replace(self, **parts)
