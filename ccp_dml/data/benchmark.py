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
        gallery: What the queries are compared with. Defaults to `None`.
        class_names: A name for each label. Defaults to `None`.
    """

    train: LabeledSamples
    test: LabeledSamples
    gallery: LabeledSamples | None = None
    class_names: tuple[str, ...] | None = None

    def with_preprocessing(self, preprocessing: Preprocessing) -> "Benchmark":
        """The same benchmark for a network that wants another preprocessing.

        Raises:
            ValueError: See `LabeledSamples.with_preprocessing`.
        """
        train, test, gallery = (
            None if part is None else part.with_preprocessing(preprocessing)
            for part in (self.train, self.test, self.gallery)
        )
        return dataclasses.replace(self, train=train, test=test, gallery=gallery)
