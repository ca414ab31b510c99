"""The losses: against figures worked out by hand, and against open_clip's and PyTorch's own."""

from collections.abc import Callable

import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from alphaclip.training.finetune.optimization.losses import Texts, batch_loss, usable_negatives

MakeTexts = Callable[..., Texts]


@pytest.fixture
def make_texts() -> MakeTexts:
    """Texts that all differ, without negatives unless some are given."""

    def make(
        vectors: Tensor, tokens: list[int] | None = None, negatives: Tensor | None = None
    ) -> Texts:
        rows, width = vectors.shape
        ids = torch.tensor(tokens or list(range(1, rows + 1))).view(-1, 1)
        wrong = torch.empty(rows, 0, width) if negatives is None else negatives
        usable = torch.ones(wrong.shape[:2], dtype=torch.bool)
        return Texts(vectors, ids, wrong, usable, torch.empty(rows, 0))

    return make


def unit(rows: int, width: int = 6, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(rows, width, generator=draw), dim=-1)


def test_infonce__is_what_two_pairs_come_to_by_hand(make_texts, make_config):
    """Logits [[1.2, 0], [1.6, 2]]; rows 0.2633 and 0.5130, columns 0.9130 and 0.1269."""
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = make_texts(torch.tensor([[0.6, 0.8], [0.0, 1.0]]))

    loss = batch_loss(image, texts, torch.tensor(2.0), None, make_config())

    assert loss.value.item() == pytest.approx((0.388149 + 0.519972) / 2, abs=1e-5)
    assert loss.hit.item() == 1.0


def test_infonce__has_the_gradient_of_two_pairs_by_hand(make_texts, make_config):
    """By the logits (softmax - 1 on the diagonal): rows / 4 + columns / 4."""
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    texts = make_texts(torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    rows = torch.tensor([[-0.231475, 0.231475], [0.401312, -0.401312]])
    columns = torch.tensor([[-0.598688, 0.119203], [0.598688, -0.119203]])

    batch_loss(image, texts, torch.tensor(2.0), None, make_config()).value.backward()

    expected = 2.0 * ((rows + columns) / 4) @ texts.vectors
    assert torch.allclose(image.grad, expected, atol=1e-5)


def test_infonce__is_open_clips_and_smoothed_as_pytorch_does(make_texts, make_config):
    image, texts, scale = unit(5), make_texts(unit(5, seed=1)), torch.tensor(7.0)
    logits = scale * image @ texts.vectors.T
    own = torch.arange(5)
    smoothed = [cross_entropy(side, own, label_smoothing=0.1) for side in (logits, logits.T)]

    plain = batch_loss(image, texts, scale, None, make_config())
    soft = batch_loss(image, texts, scale, None, make_config(label_smoothing=0.1))

    assert plain.value.item() == pytest.approx(
        ClipLoss()(image, texts.vectors, scale).item(), rel=1e-6
    )
    assert soft.value.item() == pytest.approx((sum(smoothed) / 2).item(), rel=1e-6)


def test_sigmoid__is_open_clips(make_texts, make_config):
    image, texts = unit(5), make_texts(unit(5, seed=1))
    scale, bias = torch.tensor(7.0), torch.tensor(-3.0)

    loss = batch_loss(image, texts, scale, bias, make_config(loss="sigmoid"))

    expected = SigLipLoss()(image, texts.vectors, scale, bias)
    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-6)


COLUMNS = [[0, 1], [0, 1, 2], [1, 2]]
"""What each row is compared with where rows 0 and 2 have the same text."""


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_texts__are_no_columns_of_each_other(make_texts, make_config, smoothing):
    image, texts = unit(3), make_texts(unit(3, seed=1)[[0, 1, 0]], [1, 2, 1])
    logits = 5.0 * image @ texts.vectors.T

    loss = batch_loss(image, texts, torch.tensor(5.0), None, make_config(label_smoothing=smoothing))

    expected = 0.0
    for side in (logits, logits.T):
        for row, columns in enumerate(COLUMNS):
            own = torch.tensor(columns.index(row))
            expected += cross_entropy(side[row, columns], own, label_smoothing=smoothing) / 6
    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_equal_texts__count_for_nothing_in_the_sigmoid_loss(make_texts, make_config):
    image, texts = unit(3), make_texts(unit(3, seed=1)[[0, 1, 0]], [1, 2, 1])
    logits = 5.0 * image @ texts.vectors.T - 2.0

    loss = batch_loss(
        image, texts, torch.tensor(5.0), torch.tensor(-2.0), make_config(loss="sigmoid")
    )

    expected = sum(
        -logsigmoid(logits[row, column] if row == column else -logits[row, column])
        for row, columns in enumerate(COLUMNS)
        for column in columns
    )
    assert loss.value.item() == pytest.approx((expected / 3).item(), rel=1e-5)


def test_equal_texts__are_negatives_in_the_released_code(make_texts, make_config):
    image, texts = unit(3), make_texts(unit(3, seed=1)[[0, 1, 0]], [1, 2, 1])
    scale = torch.tensor(5.0)

    loss = batch_loss(image, texts, scale, None, make_config(reference=True, label_smoothing=0.0))

    expected = ClipLoss()(image, texts.vectors, scale)
    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_hit__takes_an_equal_text_for_no_rival(make_texts, make_config):
    """Both regions lie on text 0's vector; the second has the same text, so both hit."""
    image, vectors = torch.eye(2)[[0, 0, 1]], torch.eye(2)[[0, 0, 1]]

    loss = batch_loss(image, make_texts(vectors, [1, 1, 2]), torch.tensor(5.0), None, make_config())

    assert loss.hit.item() == 1.0


def test_negatives__are_further_columns_of_their_own_row(make_texts, make_config):
    image, vectors, wrong = unit(3), unit(3, seed=1), unit(6, seed=2).view(3, 2, 6)
    texts = make_texts(vectors, negatives=wrong)
    texts.usable[1, 0] = False
    logits = 4.0 * image @ vectors.T

    loss = batch_loss(image, texts, torch.tensor(4.0), None, make_config(negatives=2))

    rows = [torch.cat([logits[row], 4.0 * wrong[row] @ image[row]]) for row in range(3)]
    rows[1] = rows[1][[0, 1, 2, 4]]
    of_image = sum(cross_entropy(row, torch.tensor(i)) for i, row in enumerate(rows)) / 3
    of_text = cross_entropy(logits.T, torch.arange(3))
    assert loss.value.item() == pytest.approx(((of_image + of_text) / 2).item(), rel=1e-5)


def test_negatives__make_a_miss_where_one_is_nearer(make_texts, make_config):
    image = torch.eye(2)
    texts = make_texts(torch.tensor([[0.8, 0.6], [0.0, 1.0]]), negatives=torch.eye(2)[:, None])

    loss = batch_loss(image, texts, torch.tensor(4.0), None, make_config(negatives=1))

    assert loss.hit.item() == 0.5


def test_usable_negatives__leaves_out_padding_and_the_rows_own_text():
    tokens = torch.tensor([[7, 8, 0], [7, 9, 0]])
    negatives = torch.tensor([[[7, 9, 0], [0, 0, 0]], [[7, 9, 0], [7, 8, 0]]])

    assert usable_negatives(negatives, tokens).tolist() == [[True, False], [False, True]]


def test_text_to_image__has_gradient(make_texts, make_config):
    """The whole loss's gradient is not that of its image-to-text half."""
    texts, scale = make_texts(unit(4, seed=1)), torch.tensor(5.0)
    image = unit(4).requires_grad_()
    half = unit(4).requires_grad_()

    batch_loss(image, texts, scale, None, make_config(), world=2).value.backward()
    (cross_entropy(scale * half @ texts.vectors.T, torch.arange(4)) / 2).backward()

    assert (image.grad - half.grad).abs().max() > 0.05


def test_text_to_image__has_none_in_the_released_code_on_several_processes(make_texts, make_config):
    texts, scale = make_texts(unit(4, seed=1)), torch.tensor(5.0)
    config = make_config(reference=True)
    image = unit(4).requires_grad_()
    alone = unit(4).requires_grad_()
    half = unit(4).requires_grad_()

    batch_loss(image, texts, scale, None, config, world=2).value.backward()
    batch_loss(alone, texts, scale, None, config, world=1).value.backward()
    logits = scale * half @ texts.vectors.T
    (cross_entropy(logits, torch.arange(4), label_smoothing=0.1) / 2).backward()

    assert torch.allclose(image.grad, half.grad, atol=1e-6)
    assert not torch.allclose(alone.grad, half.grad, atol=1e-3)
