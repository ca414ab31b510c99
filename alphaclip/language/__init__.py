"""Language models on regions: they describe them, and answer questions about them."""

from alphaclip.language.describer import Answers, Caption, Describer
from alphaclip.language.loading import load
from alphaclip.language.questions import Question

__all__ = ["Answers", "Caption", "Describer", "Question", "load"]
