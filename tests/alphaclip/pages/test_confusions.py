"""What was taken for what, counted by hand."""

from alphaclip.pages.confusions import Confusion, find_confusions

NAN = float("nan")


def test_find_confusions__frequent_first_then_sure() -> None:
    answers = ["a", "b", "b", "a", "b", "c"]
    truths = ["a", "a", "a", "b", "b", "a"]
    scores = [0.9, 0.2, 0.4, 0.3, 0.1, 0.8]
    right = [answer == truth for answer, truth in zip(answers, truths, strict=True)]
    assert find_confusions(answers, truths, right, scores) == [
        Confusion("b", "a", 2, mistake=2, example=0),
        Confusion("c", "a", 1, mistake=5, example=0),
        Confusion("a", "b", 1, mistake=3, example=4),
    ]
    assert len(find_confusions(answers, truths, right, scores, most=1)) == 1


def test_find_confusions__examples_of_the_answer_where_the_truth_has_none() -> None:
    answers, truths = ["a", "a", None], ["a", None, "b"]
    found = find_confusions(answers, truths, [True, False, False], [NAN, NAN, 0.5])
    assert found == [Confusion(None, "b", 1, 2, None), Confusion("a", None, 1, 1, 0)]
    assert find_confusions([], [], [], []) == []
