"""Batches of pairs: parts of them."""

import torch


def test_split__gives_rows_in_order_and_a_shorter_last_part(make_batch):
    batch = make_batch(rows=7, negatives=2)

    parts = batch.split(3)

    assert [len(part) for part in parts] == [3, 3, 1]
    assert [key for part in parts for key in part.keys] == list(batch.keys)
    for name in ("images", "alpha", "tokens", "negatives", "whole"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(batch, name))


def test_split__of_nothing_or_more_than_there_is_gives_the_batch(make_batch):
    batch = make_batch(rows=4)

    assert batch.split(0) == [batch]
    assert batch.split(9) == [batch]


def test_to__keeps_content_and_absent_negatives(make_batch):
    moved = make_batch(rows=4).to("cpu")

    assert moved.negatives is None
    assert torch.equal(moved.images, make_batch(rows=4).images)
