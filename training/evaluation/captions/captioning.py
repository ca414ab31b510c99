"""Scores of captions by COCO's own code, pycocoevalcap.

It is the code that the published figures were computed with: the Stanford PTB tokenizer, METEOR
1.5 and SPICE are Java programs that come in its package, so that nothing is fetched later. What it
calls CIDEr is CIDEr-D, with clipped counts and a penalty on length (sigma 6).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.sources import MissingDataError

METRICS = ("CIDEr", "METEOR", "ROUGE-L", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "SPICE")
"""In the order of tables."""

_JAVA_OPTIONS = "-Duser.language=en -Duser.country=US -Dfile.encoding=UTF-8"
"""METEOR stops at its own numbers where the machine writes decimal commas."""

_SPICE_FILES = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")

Tokens = Mapping[str, list[str]]
"""Tokenized captions by picture, tokens separated by spaces."""

Scores = dict[str, tuple[float, Sequence[float]]]
"""By metric, of all pictures and of each, at most 1 (CIDEr: 10)."""

Scorer = Callable[[Tokens, Tokens], Scores]
"""Takes references and predictions."""


@dataclass(frozen=True)
class CaptionScores:
    """What captions reached, times 100.

    Attributes:
        overall: by metric
        each: by metric, for each picture in order. BLEU and METEOR of all pictures are not the
            means of these, ROUGE-L and CIDEr are
    """

    overall: dict[str, float]
    each: dict[str, list[float]]


def score_captions(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], spice: bool = False
) -> CaptionScores:
    """Tokenizes captions and scores them.

    Sources: BLEU, Papineni et al. 2002, closest reference length; ROUGE-L, Lin 2004, beta 1.2;
    METEOR 1.5, Denkowski and Lavie 2014; CIDEr-D, Vedantam et al. 2015, section 5, document
    frequencies from the references; SPICE, Anderson et al. 2016.

    Args:
        predictions: a caption for each picture, in one line; scores are in their order
        references: captions for the same pictures
        spice: also SPICE, which needs Stanford's CoreNLP 3.6.0

    Raises:
        MissingDataError: if SPICE's files are not there
        AlphaClipError: if pycocoevalcap or Java is missing or fails, or there are fewer than two
            pictures, for which CIDEr is not defined
    """
    if len(predictions) < 2:
        raise AlphaClipError(
            f"{len(predictions)} caption(s) to score: CIDEr weighs words by how rare they are "
            "among the pictures and needs at least two"
        )
    _require_programs(spice)
    # one run of the tokenizer for all of them: Java takes a second to start
    pairs = [(key, caption) for key in predictions for caption in references[key]]
    with _english_java():
        tokens = iter(tokenize([*predictions.values(), *(caption for _, caption in pairs)]))
        own = {key: [next(tokens)] for key in predictions}
        others: dict[str, list[str]] = {key: [] for key in predictions}
        for (key, _), line in zip(pairs, tokens, strict=True):
            others[key].append(line)
        return score_tokens(own, others, [_meteor, *([_spice] if spice else [])])


def tokenize(captions: Sequence[str]) -> list[str]:
    """Splits captions as Stanford's PTB tokenizer does, in lower case, without punctuation.

    pycocoevalcap's own class writes into its package's folder, which may be read-only, and does
    not see when Java stops half-way.

    Args:
        captions: each in one line

    Returns:
        for each caption its tokens, separated by spaces
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    command = [_java(), "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    text = "".join(f"{caption}\n" for caption in captions)
    run = subprocess.run(
        [*command, "-preserveLines", "-lowerCase"], input=text.encode(), capture_output=True
    )
    lines = run.stdout.decode().split("\n")[:-1]
    if run.returncode or len(lines) != len(captions):
        raise AlphaClipError(
            f"the tokenizer made {len(lines)} lines of {len(captions)} captions: "
            f"{run.stderr.decode(errors='replace')[-500:]}"
        )
    marks = ptbtokenizer.PUNCTUATIONS
    return [" ".join(token for token in line.split() if token not in marks) for line in lines]


def score_tokens(
    predictions: Tokens, references: Tokens, further: Sequence[Scorer] = ()
) -> CaptionScores:
    """Scores tokenized captions, a list of one prediction for each picture.

    Args:
        predictions: by picture
        references: by picture, in the same order
        further: scorers besides those that need no Java
    """
    overall, each = {}, {}
    for scorer in (_plain, *further):
        for name, (value, values) in scorer(dict(references), dict(predictions)).items():
            overall[name] = 100.0 * float(value)
            each[name] = [100.0 * float(v) for v in values]
    return CaptionScores({name: overall[name] for name in METRICS if name in overall}, each)


def _require_programs(spice: bool) -> None:
    try:
        import pycocoevalcap.cider.cider  # noqa: F401
    except ImportError as error:
        raise AlphaClipError(
            "captions are scored by pycocoevalcap, which is not installed: "
            "pip install 'alphaclip-fiftyone[captions]'"
        ) from error
    _java()
    if spice:
        from pycocoevalcap.spice import spice as spice_package

        # pycocoevalcap would fetch the missing files from the internet by itself
        folder = Path(spice_package.__file__).parent / "lib"
        missing = [name for name in _SPICE_FILES if not (folder / name).is_file()]
        if missing:
            raise MissingDataError(
                f"SPICE needs {' and '.join(missing)} in {folder}: take them out of "
                "https://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
            )


def _java() -> str:
    program = shutil.which("java")
    if program is None:
        raise AlphaClipError(
            "captions are tokenized and METEOR is computed by Java programs, and there is no "
            "'java' on PATH: install a Java runtime (Debian: default-jre-headless)"
        )
    return program


@contextmanager
def _english_java() -> Iterator[None]:
    """Lets the Java programs that are started meanwhile write numbers and text in one way."""
    before = os.environ.get("JAVA_TOOL_OPTIONS")
    os.environ["JAVA_TOOL_OPTIONS"] = f"{before or ''} {_JAVA_OPTIONS}".strip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["JAVA_TOOL_OPTIONS"]
        else:
            os.environ["JAVA_TOOL_OPTIONS"] = before


def _plain(references: Tokens, predictions: Tokens) -> Scores:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    overall, each = Bleu(4).compute_score(references, predictions, verbose=0)
    return {
        "CIDEr": Cider().compute_score(references, predictions),
        "ROUGE-L": Rouge().compute_score(references, predictions),
        **{f"BLEU-{n}": pair for n, pair in enumerate(zip(overall, each, strict=True), 1)},
    }


def _meteor(references: Tokens, predictions: Tokens) -> Scores:
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    try:
        return {"METEOR": scorer.compute_score(references, predictions)}
    except (OSError, ValueError) as error:
        raise AlphaClipError(
            f"METEOR's Java program stopped ({error}): it needs 2 GB of memory"
        ) from error
    finally:
        # its destructor takes this lock, and would wait for ever where scoring broke off
        if scorer.lock.locked():
            scorer.lock.release()


def _spice(references: Tokens, predictions: Tokens) -> Scores:
    from pycocoevalcap.spice.spice import Spice

    try:
        overall, each = Spice().compute_score(references, predictions)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise AlphaClipError(
            f"SPICE's Java program stopped ({error}): it needs 8 GB of memory and, as its authors "
            "say, Java 8"
        ) from error
    by_key = dict(zip(sorted(predictions), (score["All"]["f"] for score in each), strict=True))
    return {"SPICE": (overall, [by_key[key] for key in predictions])}
