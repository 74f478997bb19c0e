from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from evaluation.metrics import applicable, build, exact_match, named_label, numeric_match, token_f1
from shared.tasks import Task, load_task


def task(kind: str, *labels: str) -> Task:
    return load_task(json.dumps({"type": kind, "labels": list(labels)}))


def value(name: str, of: Task, pairs: list[tuple[str, str]], candidates: tuple[str, ...] = ()) -> float:
    """A metric over (answer, target) pairs, by the sum of its vectors."""
    metric = build(name, of)
    vectors = [metric.row(answer, target, candidates) for answer, target in pairs]
    width = max(map(len, vectors))
    return float(metric.value(np.array([vector + [0.0] * (width - len(vector)) for vector in vectors]).sum(0)))


HYPOTHESES = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]


@pytest.mark.parametrize(("name", "metric"), [("bleu_score", BLEU()), ("chrf", CHRF())])
def test_a_corpus_metric_from_vectors_is_sacrebleus_own(name: str, metric: BLEU | CHRF) -> None:
    expected = metric.corpus_score(HYPOTHESES, [REFERENCES]).score
    pairs = list(zip(HYPOTHESES, REFERENCES, strict=True))
    assert value(name, task("conversation"), pairs) == pytest.approx(expected)


def test_bleu_of_a_hand_computed_corpus() -> None:
    # 5/6 words, 3/5, 1/4 and 0/3 longer n-grams of one sentence; "exp" smoothing makes 0/3 to (1/2)/3; equal lengths
    pairs = [("the cat is on the mat", "the cat was on the mat")]
    precisions = (5 / 6) * (3 / 5) * (1 / 4) * (1 / 6)
    assert value("bleu_score", task("conversation"), pairs) == pytest.approx(100 * precisions**0.25)
    assert value("bleu_score", task("conversation"), [(text, text) for text in REFERENCES]) == pytest.approx(100)


def test_the_bleu_signature_is_kept() -> None:
    metric = build("bleu_score", task("conversation"))
    metric.row("a", "a", ())
    assert str(metric.signature).startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_rouge_of_a_hand_computed_pair() -> None:
    pairs = [("the cat sat", "the cat sat on the mat")]  # 3 of 3 and 3 of 6 words; 2 of 2 and 2 of 5 bigrams
    assert value("rouge_1", task("summarization"), pairs) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert value("rouge_2", task("summarization"), pairs) == pytest.approx(2 * 1 * 0.4 / 1.4)
    assert value("rouge_l", task("summarization"), [("mat the cat", "the cat mat")]) == pytest.approx(2 / 3)


def test_rouge_of_the_librarys_own_example() -> None:
    # rouge-score's README: ROUGE-1 precision 6/8, recall 6/9; ROUGE-L precision 5/8, recall 5/9
    pairs = [("The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog")]
    assert value("rouge_1", task("summarization"), pairs) == pytest.approx(2 * 6 / (8 + 9))
    assert value("rouge_l", task("summarization"), pairs) == pytest.approx(2 * 5 / (8 + 9))


def test_rouge_compares_stems_as_the_paper_does() -> None:
    assert value("rouge_1", task("summarization"), [("he runs markets", "he running market")]) == pytest.approx(1)


def test_macro_f1_leaves_out_labels_that_neither_occur_nor_are_answered() -> None:
    labels = ("yes", "no", "never used")
    pairs = [("yes", "yes"), ("yes", "no")]
    assert value("macro_f1", task("classification", *labels), pairs, labels) == pytest.approx((2 / 3 + 0) / 2)


def test_macro_f1_of_scikit_learns_documentation() -> None:
    # sklearn.metrics.f1_score: y_true = [0, 1, 2, 0, 1, 2], y_pred = [0, 2, 1, 0, 0, 1], macro → 0.26…
    labels = ("a", "b", "c")
    pairs = [("a", "a"), ("c", "b"), ("b", "c"), ("a", "a"), ("a", "b"), ("b", "c")]
    assert value("macro_f1", task("classification", *labels), pairs, labels) == pytest.approx(0.8 / 3)


def test_macro_f1_counts_an_answer_that_is_no_label_against_the_true_label_only() -> None:
    labels = ("yes", "no")
    of = task("classification", *labels)
    pairs = [("yes", "yes"), ("hm", "yes"), ("no", "no")]
    assert value("macro_f1", of, pairs, labels) == pytest.approx((2 / 3 + 1) / 2)


def test_accuracy_is_the_tasks_own_idea_of_right() -> None:
    assert value("accuracy", task("math"), [("so #### 1,200.0", "#### 1200"), ("#### 7", "#### 8")]) == 0.5


@pytest.mark.parametrize(
    ("answer", "target", "right"),
    [
        (r"the set is \boxed{\{1,2,3,4\}}", r"#### \{1,3\} \cup \{2,4\}", 1.0),  # the example of math-verify's README
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"#### \frac{\sqrt{2}}{2}", 1.0),
        (r"\boxed{1 + x}", "#### x + 1", 1.0),
        (r"\boxed{(2, 1)}", "#### (1, 2)", 0.0),
        (r"\boxed{x + 2}", "#### x + 1", 0.0),
    ],
)
def test_expressions_are_right_where_math_verify_says_so(answer: str, target: str, right: float) -> None:
    assert value("accuracy", task("math"), [(answer, target)]) == right


@pytest.mark.parametrize(
    ("answer", "target", "exact", "f1"),
    [
        ("The  Eiffel Tower!", "eiffel tower", True, 1.0),
        ("Denver Broncos won", "the Denver Broncos", False, 0.8),
        ("", "", True, 1.0),
        ("something", "", False, 0.0),
        ("red", "blue", False, 0.0),
        ("no no no", "no", False, 0.5),
    ],
)
def test_exact_match_and_token_f1_as_squad_defines_them(answer: str, target: str, exact: bool, f1: float) -> None:
    assert exact_match(answer, target) is exact
    assert token_f1(answer, target) == pytest.approx(f1)


@given(st.text(max_size=40), st.text(max_size=40))
def test_token_f1_is_symmetric_and_a_share(first: str, second: str) -> None:
    assert 0 <= token_f1(first, second) <= 1
    assert token_f1(first, second) == pytest.approx(token_f1(second, first))
    assert token_f1(first, first) == 1


@pytest.mark.parametrize(
    ("answer", "target", "same"),
    [
        ("it is 3/4", "#### 0.75", True),
        ("$1,200.50", "1200.5", True),
        ("none", "3", False),
        ("3.001", "3", False),
        ("\\boxed{x}", "x", False),
    ],
)
def test_numeric_match_compares_final_numbers(answer: str, target: str, same: bool) -> None:
    assert numeric_match(answer, target) is same


def test_a_label_is_read_as_the_task_reads_it() -> None:
    of = task("classification", "sport", "very good sport")
    labels = ("sport", "very good sport")
    assert named_label(of, "Very good sport.", labels) == "very good sport"
    assert named_label(of, "weather", labels) is None
    letters = ("A", "B")
    assert named_label(task("nlu_qa"), "B", letters) == "B"


def test_no_rows_give_a_zero_not_a_warning() -> None:
    assert float(build("accuracy", task("nli")).value(np.zeros(2))) == 0.0
    assert float(build("bleu_score", task("conversation")).value(np.zeros(11))) == 0.0


@pytest.mark.parametrize("kind", ["nli", "conversation", "nlu_qa", "math", "summarization"])
def test_the_default_metrics_of_every_task_apply_to_it(kind: str) -> None:
    of = task(kind)
    assert set(of.metrics) <= set(applicable(of))
    assert of.headline in of.metrics
