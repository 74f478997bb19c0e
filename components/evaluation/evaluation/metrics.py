"""Quality metrics, each a vector per row and a function of the sum of the vectors.

That form makes every metric one thing to the statistics: a corpus BLEU is bootstrapped over its n-gram counts and a
macro F1 over its label counts exactly as an accuracy is over its hits.  The first entry of every vector is 1, so the
sum carries the number of rows.
"""

from __future__ import annotations

import re
import string
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.tasks import LabelTask, Task
from shared.tasks.text import Math, as_number, final_answer

Array = NDArray[np.float64]
LATENCY = "inference_time"
ALIASES = {"bleu": "bleu_score", "rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l", "f1": "token_f1"}
TEXT = ("exact_match", "token_f1", "bleu_score", "chrf", "rouge_1", "rouge_2", "rouge_l")
TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "exact_match": "Exact match",
    "token_f1": "Token F1",
    "bleu_score": "BLEU",
    "chrf": "chrF",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "numeric_match": "Numeric match",
    LATENCY: "Inference time",
}
PROPORTIONS = ("accuracy", "exact_match", "numeric_match")
PERCENT = ("bleu_score", "chrf")  # on a scale of 0 to 100; everything else runs from 0 to 1


def applicable(task: Task | None) -> tuple[str, ...]:
    """The metrics that make sense for a task; every metric for None."""
    if task is None:
        return tuple(TITLES)
    if isinstance(task, LabelTask):
        return ("accuracy", "macro_f1", LATENCY)
    return ("accuracy", *TEXT, *(("numeric_match",) if isinstance(task, Math) else ()), LATENCY)


def mean_of(sums: Array) -> Array:
    """The mean of summed vectors (1, score); 0 without rows."""
    return np.divide(sums[..., 1], sums[..., 0], out=np.zeros(sums.shape[:-1]), where=sums[..., 0] > 0)


class Metric(ABC):
    """One figure of quality.  `proportion` marks a share of rows that are simply right or wrong."""

    proportion = False
    signature: str | None = None

    @abstractmethod
    def row(self, answer: str, target: str, candidates: Sequence[str]) -> list[float]:
        """The row's vector, beginning with 1; vectors of later rows may be longer (new labels)."""

    @abstractmethod
    def value(self, sums: Array) -> Array:
        """The metric [...] of summed vectors [..., width]."""


class Mean(Metric):
    """The mean of a score per row."""

    def __init__(self, score: Callable[[str, str, Sequence[str]], float], *, proportion: bool = False) -> None:
        self.score = score
        self.proportion = proportion

    def row(self, answer: str, target: str, candidates: Sequence[str]) -> list[float]:
        return [1.0, float(self.score(answer, target, candidates))]

    def value(self, sums: Array) -> Array:
        return mean_of(sums)


class MacroF1(Metric):
    """The unweighted mean of the labels' F1, over the labels that occur in the references or the answers.

    A row's vector holds, for each label, whether it was right, answered and true; an answer that is no label at all
    counts against the true label only.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.places: dict[str, int] = {}

    def row(self, answer: str, target: str, candidates: Sequence[str]) -> list[float]:
        for label in (*candidates, target):
            self.places.setdefault(label, len(self.places))
        vector = [0.0] * (1 + 3 * len(self.places))
        vector[0] = 1.0
        said = named_label(self.task, answer, candidates)
        if said is not None:
            vector[2 + 3 * self.places[said]] = 1.0
            vector[1 + 3 * self.places[said]] = float(said == target)
        vector[3 + 3 * self.places[target]] = 1.0
        return vector

    def value(self, sums: Array) -> Array:
        right, said, true = (sums[..., start::3] for start in (1, 2, 3))
        occurs = said + true > 0
        f1 = np.divide(2 * right, said + true, out=np.zeros_like(right), where=occurs)
        return np.asarray(f1.sum(-1) / np.maximum(occurs.sum(-1), 1))


class SacreBleu(Metric):
    """A corpus metric of sacrebleu (BLEU or chrF), 0 to 100, from its own statistics per row."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        # what sacrebleu.significance itself is built on: the statistics of a sentence, and a score from their sum
        self.statistics = metric._extract_corpus_statistics
        self.score = metric._compute_score_from_stats

    @property
    def signature(self) -> str:  # type: ignore[override]
        return str(self.metric.get_signature())

    def row(self, answer: str, target: str, candidates: Sequence[str]) -> list[float]:
        return [1.0, *map(float, self.statistics([answer], [[target]])[0])]

    def value(self, sums: Array) -> Array:
        flat = sums.reshape(-1, sums.shape[-1])
        scores = [self.score([int(count) for count in row[1:]]).score if row[0] else 0.0 for row in flat]
        return np.array(scores).reshape(sums.shape[:-1])


def build(name: str, task: Task) -> Metric:
    """The metric called `name` for a task."""
    if name == "accuracy":
        return Mean(lambda answer, target, candidates: task.is_correct(answer, target, candidates), proportion=True)
    if name == "macro_f1":
        return MacroF1(task)
    if name in ("bleu_score", "chrf"):
        from sacrebleu.metrics import BLEU, CHRF

        return SacreBleu(BLEU() if name == "bleu_score" else CHRF())
    if name.startswith("rouge_"):
        return _rouge(name)
    score = {"exact_match": exact_match, "token_f1": token_f1, "numeric_match": numeric_match}[name]
    return Mean(lambda answer, target, candidates: score(answer, target), proportion=name in PROPORTIONS)


def named_label(task: Task, answer: str, candidates: Sequence[str]) -> str | None:
    """The candidate that an answer names by the task's own reading; None when it names none."""
    if answer in candidates:
        return answer
    return next((label for label in candidates if task.is_correct(answer, label, candidates)), None)


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and extra space (the SQuAD 1.1 evaluation script)."""
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def exact_match(answer: str, target: str) -> bool:
    """Equality after SQuAD's normalisation."""
    return normalise(answer) == normalise(target)


def token_f1(answer: str, target: str) -> float:
    """F1 of the bags of words after SQuAD's normalisation; two empty texts agree."""
    given, wanted = normalise(answer).split(), normalise(target).split()
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def numeric_match(answer: str, target: str) -> bool:
    """Whether the final answers are the same number; unlike accuracy, no expression is compared."""
    given, wanted = (as_number(final_answer(text) or "") for text in (answer, target))
    if given is None or wanted is None:
        return False
    return abs(given - wanted) <= 1e-6 * max(1.0, abs(wanted))


@cache
def _rouge_tokenizer() -> Any:
    """rouge-score's own stemming tokenizer; it keeps a row's texts while all ROUGEs are taken, as stemming is slow."""
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer(use_stemmer=True)
    tokenizer.tokenize = lru_cache(64)(tokenizer.tokenize)
    return tokenizer


def _rouge(name: str) -> Metric:
    from rouge_score.rouge_scorer import RougeScorer

    kind = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}[name]
    scorer = RougeScorer([kind], tokenizer=_rouge_tokenizer())
    return Mean(lambda answer, target, candidates: scorer.score(target, answer)[kind].fmeasure)
