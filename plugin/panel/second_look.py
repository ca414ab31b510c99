"""A second look: a detector of words, or a language model, is asked whether hits show what was
searched for, and the detector where there is more of it."""

import dataclasses
import hashlib
import re

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError

from ..common import jobs
from ..common.forms import count, shorten, split
from ..common.indexes import open_index
from ..common.panels import event
from .questions import REGIONS, completed, find, keep_order

MOST = 100
"""Hits that are looked at: it takes a second or more for each on a CPU."""


class SecondLookEvents:
    """Events of the second look."""

    @event
    def verify(self, ctx):
        """Asks a detector for the words in the pictures of the best hits, and ranks by it.

        What it returns as ``question`` is answered in the new order.
        """
        from alphaclip.indexing import verify
        from alphaclip.indexing.word_detectors import installed_detector

        dataset = ctx.dataset
        question = completed(dataset, ctx.params["question"])
        words = _words(question)
        if question["mode"] != REGIONS or question["concept"]:
            raise AlphaClipError("Only the regions that a search found are verified")

        detector = installed_detector()
        title = "Looking again at hits of “%s”" % words
        with jobs.stoppable(dataset, question["keys"][0], title) as job:
            hits = find(dataset, question)
            verified = verify(hits, words, detector, MOST, progress=job.progress)
            job.said = str(verified)

        return {"question": keep_order(dataset, question, verified.hits), "said": str(verified)}

    @event
    def ask_model(self, ctx):
        """Asks a language model about the best hits, which are then all that is left, with the
        scores of its first choice for theirs.

        What it returns as ``question`` is answered in the new order.
        """
        from alphaclip import language
        from alphaclip.indexing import verify

        dataset, params = ctx.dataset, ctx.params
        question = completed(dataset, params["question"])
        text = check("text", params["text"], "str").strip()
        choices = check("choices", params["choices"], "Sequence[str]")
        if question["mode"] != REGIONS:
            raise AlphaClipError("Only regions are asked about: search for regions first")

        title = "Asking about hits: “%s”" % shorten(text, 60)
        with jobs.stoppable(dataset, question["keys"][0], title) as job:
            model, hits = language.load("auto"), find(dataset, question)
            asked = verify(hits, text, model, MOST, progress=job.progress, choices=choices)
            job.said = str(asked)

        answered = asked.hits.take(asked.detected >= 0)
        scored = dataclasses.replace(answered, scores=asked.detected[asked.detected >= 0])
        prompt = {"text": text, "choices": choices}
        said = "%s says: %s" % (model.name, asked)
        return {"question": keep_order(dataset, question, scored, prompt), "said": said}

    @event
    def find_everywhere(self, ctx):
        """Begins to look for the words in whole pictures, also where nothing is segmented yet: a
        detector's boxes get masks in a field of their own, and these an index of this name."""
        from alphaclip.indexing.word_detectors import installed_detector

        dataset, question = ctx.dataset, completed(ctx.dataset, ctx.params["question"])
        words, detector = split(_words(question)), installed_detector()
        key = _name_of(words)

        def work(progress):
            from alphaclip import indexing

            report = indexing.segment(
                dataset, into=key, concepts=words, detector=detector, progress=progress
            )
            told = "%s of %s" % (count(report.added, "region"), ", ".join(words))
            if not dataset.count("%s.detections" % key):
                return told + ": the detector sees none"

            encoder = open_index(dataset, question["keys"][0]).encoder
            indexing.build(dataset, key, encoder, key, overwrite=True, progress=progress)
            return told + ": search again to see them, they are in the index %s" % key

        jobs.start(dataset, key, "Looking for %s in all pictures" % ", ".join(words), work)
        return {"key": key}


def _words(question):
    words = question["words"].strip()
    if not words:
        raise AlphaClipError("Type what to look for: a detector takes words, not examples")

    return words


def _name_of(words):
    """The field and index for what is found of some words, the same for the same words."""
    text = ", ".join(words)
    letters = re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
    return "words_%s_%s" % (letters, hashlib.sha256(text.encode()).hexdigest()[:6])
