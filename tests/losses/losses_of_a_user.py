"""Losses outside the package, which tests name by their module."""

from ccp_dml import losses


class Scaled(losses.Triplet):
    """A triplet loss with two more parameters: a number and a word."""

    def __init__(self, factor=1.0, form="plain", **kwargs):
        super().__init__(**kwargs)
        self.factor, self.form = factor, form

    def labeled_loss(self, *arguments, **options):
        return self.factor * super().labeled_loss(*arguments, **options)


def make_sum(weight=1.0):
    return losses.WeightedSum([(losses.Triplet(), 1.0), (losses.NPair(), weight)])


def make_nothing():
    return None


NUMBER = 3
