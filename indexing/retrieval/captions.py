"""Captions of regions, matched with the words of a query, and both rankings joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.dataset.attributes import names_of
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.retrieval.queries import NEGATIVE_WEIGHT, Words

if TYPE_CHECKING:
    import fiftyone as fo
    from scipy.sparse import csc_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    from alphaclip.indexing.store.segments import RowIds

FUSION = 60
"""How little the first ranks count more than later ones: as where reciprocal rank fusion was
proposed (Cormack, Clarke and Büttcher, SIGIR 2009)."""

LONGEST = 3
"""Words of a phrase, such as "of a dog": their order tells who is left of whom."""

_WORD = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
"""A word, or a single character of scripts that put no spaces between words."""


@dataclass(frozen=True, eq=False)
class Captions:
    """The captions of the rows of an index, as words and phrases weighted by how rare they are.

    Attributes:
        vectorizer: of scikit-learn, fitted on the captions
        table: float32 (n, words), rows of unit length, or empty
    """

    vectorizer: TfidfVectorizer
    table: csc_matrix

    @classmethod
    def read(cls, dataset: fo.Dataset, field: str, attribute: str, ids: RowIds) -> Captions:
        """Reads captions, as they are now.

        Args:
            dataset: whose
            field: of the labels
            attribute: of the labels, that holds the captions
            ids: of the labels

        Raises:
            FieldError: if there are none; says how they are written
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        try:
            texts = [text or "" for text in names_of(dataset, field, attribute, ids)]
        except FieldError as error:
            raise _no_captions(field, attribute, f" ({error})") from error
        settings = {"token_pattern": _WORD, "sublinear_tf": True, "dtype": np.float32}
        vectorizer = TfidfVectorizer(ngram_range=(1, LONGEST), **settings)
        try:
            table = vectorizer.fit_transform(texts)
        except ValueError as error:  # scikit-learn's "empty vocabulary"
            raise _no_captions(field, attribute) from error
        # By columns: a query has few words, and is compared with those captions that have them.
        return cls(vectorizer, table.tocsc())

    def match(self, words: Words, rows: np.ndarray) -> np.ndarray:
        """How well the captions of some rows match words, 0 where they have none: float32 (n,)."""
        sought, avoided = self.vectorizer.transform([words.text, words.avoided])
        scores = (self.table @ sought.T).toarray()[rows, 0]
        if avoided.nnz:
            scores = scores - NEGATIVE_WEIGHT * (self.table @ avoided.T).toarray()[rows, 0]
        return np.maximum(scores, 0)


def fuse(rank_scores: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins the ranking by vectors with that by captions, by reciprocal rank fusion.

    Equal captions have the same rank: which of their regions comes first is left to the vectors.

    Args:
        rank_scores: float32 (n,), what the order by vectors follows
        matches: float32 (n,), how well the captions match

    Returns:
        in the new order int64 (n,) positions, float32 (n,) what that order follows, and int64
        (n, 2), the rank of each by vectors and by captions, 1 the best, 0 where the caption has
        none of the words
    """
    by_caption = np.where(matches > 0, _ranks(matches), 0)
    ranks = np.stack([_ranks(rank_scores), by_caption], axis=1)
    keys = np.where(ranks > 0, 1 / (FUSION + ranks), 0).sum(axis=1)
    order = np.lexsort((ranks[:, 0], -keys))
    return order, keys[order].astype(np.float32), ranks[order]


def _ranks(scores: np.ndarray) -> np.ndarray:
    """1 for the best; equal scores have the rank of the first of them: int64 (n,)."""
    return 1 + len(scores) - np.searchsorted(np.sort(scores), scores, side="right")


def _no_captions(field: str, attribute: str, why: str = "") -> FieldError:
    return FieldError(
        f"the labels of field {field!r} have no captions in {attribute!r}{why}: write them by "
        f"index.describe(into={attribute!r}), or name the attribute that holds text as captions="
    )
