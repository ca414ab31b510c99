"""Finds regions of the bundled sample by words, acts on them, and takes it back.

    .venv/bin/python scripts/sandbox.py .venv/bin/python examples/search.py

What a person would look at in the App, ``hits.view()``, is printed here.
"""

from alphaclip import indexing
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.indexing.retrieval.hits import Hits

dataset = load_sample()
index = indexing.build(dataset, "objects", encoder="alphaclip-nano", key="example", overwrite=True)
print(f"{len(index)} regions of {len(dataset)} pictures are indexed")


def show(title: str, hits: Hits) -> None:
    """Prints the hits, best first: the cosine, and the label that the region has already."""
    print(f"\n{title}")
    for score, label in zip(hits.scores, hits.view().values("objects.label"), strict=True):
        print(f"  {score:.3f}  {label}")


hits = index.search("a drawing of a red apple", k=5)
show("a red apple", hits)

# A list is one query: its parts may be words, regions of the index, and regions of other pictures.
like_the_first = indexing.Example(hits.label_ids[0])
show(
    "a tomato, or like the first one", index.search(["a drawing of a tomato", like_the_first], k=5)
)

# What to avoid counts for the order only: the scores stay the cosines to what is looked for.
no_signs = index.search("a drawing of a red apple", k=5, negative="a drawing of a stop sign")
show("a red apple, but no stop sign", no_signs)

action = indexing.tag(hits, "check")
print(f"\ntagged: {action.count} regions, {dataset.count_label_tags()}")
indexing.undo(dataset, action)
print(f"taken back: {dataset.count_label_tags()}")
