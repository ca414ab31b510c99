"""Regions whose vectors are read off their boxes, as labelling's tests have them."""

from tests.indexing.labelling.conftest import make_dataset, make_index

__all__ = ["make_dataset", "make_index"]
