"""Where the folders that FiftyOne's model zoo reads look for the model, see `zoo_source`."""

from alphaclip.indexing.similarity import RegionModel

__all__ = ["RegionModel"]
