"""The encoders in FiftyOne's model zoo."""

import logging
from functools import cache

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.zoo_source import install_zoo_source

logger = logging.getLogger(__name__)


@cache
def show_models():
    """Makes the encoders known to ``foz.load_zoo_model``, once in a process."""
    try:
        install_zoo_source()
    except AlphaClipError as error:
        logger.warning("FiftyOne's model zoo does not list the encoders: %s", error)
