"""The generators' promises, each measured on the rows themselves."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

import pytest

from azure_distill.errors import InvalidJob
from azure_distill.samples import DRAWERS, generate
from azure_distill.samples.classification import LABELS
from shared.rows import Message, split_answer
from shared.tasks import TASKS, Settings

LABEL_TASKS = ("nli", "nlu_qa", "classification")


def rows(task: str, count: int, seed: int = 3) -> list[tuple[list[Message], str]]:
    """[(prompt, answer)]"""
    pairs = [split_answer(row["messages"]) for row in generate(task, count, seed)]
    return [(prompt, answer) for prompt, answer in pairs if answer is not None]


def text(prompt: Sequence[Message]) -> str:
    return "\n".join(message["content"] for message in prompt if message["role"] != "system")


@pytest.mark.parametrize("task", DRAWERS)
def test_every_row_is_valid_and_its_reference_correct(task: str) -> None:
    judge = TASKS[task](Settings(labels=LABELS if task == "classification" else ()))
    for prompt, answer in rows(task, 500):
        candidates = judge.candidates(prompt)
        assert judge.check(prompt, answer) == []
        assert judge.extract(answer, candidates).answer == answer
        assert judge.is_correct(answer, answer, candidates)
        wrong = [other for other in candidates if other != answer]
        assert not any(judge.is_correct(other, answer, candidates) for other in wrong)


@pytest.mark.parametrize("task", DRAWERS)
def test_the_seed_decides_and_more_rows_only_append(task: str) -> None:
    assert list(generate(task, 30, 1)) == list(generate(task, 60, 1))[:30]
    assert list(generate(task, 30, 1)) != list(generate(task, 30, 2))


@pytest.mark.parametrize("task", DRAWERS)
def test_twenty_thousand_prompts_are_distinct(task: str) -> None:
    assert len({text(prompt) for prompt, _ in rows(task, 20_000)}) == 20_000


@pytest.mark.parametrize("task", DRAWERS)
def test_rows_are_hardly_ever_near_duplicates(task: str) -> None:
    """Pairs of 400 rows with a Jaccard similarity of 0.9 or more, which prepare_data would drop."""
    shingles = [_shingles(text(prompt)) for prompt, _ in rows(task, 400)]
    near = sum(len(a & b) >= 0.9 * len(a | b) for a, b in combinations(shingles, 2))
    assert near <= 2


@pytest.mark.parametrize("task", LABEL_TASKS)
def test_labels_are_balanced(task: str) -> None:
    counts = Counter(answer for _, answer in rows(task, 600))
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("part", ["Hypothesis: ", "Premise: "])
def test_neither_half_of_an_nli_row_gives_the_label_away(part: str) -> None:
    def half(prompt: Sequence[Message]) -> str:
        return text(prompt).partition(part)[2].partition("\n")[0]

    assert _naive_bayes(rows("nli", 6000), half) <= 0.40


def test_nli_hypotheses_come_with_every_label() -> None:
    """The mirrored hypotheses: with its numbers and names masked, each form occurs under all three labels."""
    forms: dict[str, set[str]] = defaultdict(set)
    seen: Counter[str] = Counter()
    for prompt, label in rows("nli", 6000):
        hypothesis = text(prompt).partition("Hypothesis: ")[2].split(maxsplit=1)[1]
        form = " ".join("#" if any(map(str.isdigit, word)) else word for word in hypothesis.split())
        forms[form].add(label)
        seen[form] += 1
    often = [form for form, count in seen.items() if count >= 30]
    assert len(often) >= 20
    assert all(len(forms[form]) == 3 for form in often)


def test_no_word_of_a_ticket_gives_its_department_away() -> None:
    """No word covers half of a label's rows while it means that label nine times out of ten."""
    tickets = rows("classification", 5000)
    total = Counter(label for _, label in tickets)
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for prompt, label in tickets:
        for word in set(_words(text(prompt))):
            words[word][label] += 1
    for word, counts in words.items():
        label, most = counts.most_common(1)[0]
        assert most < 0.5 * total[label] or most < 0.9 * counts.total(), word


def test_the_option_mentioned_last_is_seldom_the_answer() -> None:
    right = 0
    questions = rows("nlu_qa", 2000)
    for prompt, answer in questions:
        story, _, *options = text(prompt).splitlines()
        last = max(options, key=lambda option: story.rfind(option[3:]))
        right += last.startswith(answer)
    assert right / len(questions) < 0.48


def test_solutions_compute_their_answer() -> None:
    for _, solution in rows("math", 500):
        *steps, final = solution.splitlines()
        for step in steps:
            left, right = step.split("=")
            assert eval(left) == int(right)
        assert final == f"#### {steps[-1].split('=')[1].strip()}"
        assert int(final[5:]) >= 0


def test_conversations_have_two_to_four_turns_and_end_with_facts_said_before() -> None:
    turns: Counter[int] = Counter()
    for prompt, answer in rows("conversation", 500):
        turns[sum(message["role"] == "user" for message in prompt)] += 1
        reference = next(word.strip(".,:") for word in answer.split() if word.startswith("NW-"))
        assert reference in text(prompt)
    assert set(turns) == {2, 3, 4}


def test_a_conversations_reply_follows_from_what_was_said() -> None:
    """One question in one state has one answer: masked of names and references, prompts determine replies."""
    replies: dict[str, set[str]] = defaultdict(set)
    for prompt, answer in rows("conversation", 5000):
        reference = next(word.strip(".,:") for word in answer.split() if word.startswith("NW-"))
        name = prompt[2]["content"].removeprefix("Thank you, ").partition(".")[0]
        mask = {reference: "<reference>", name: "<name>"}
        key, value = text(prompt), answer
        for known, hidden in mask.items():
            key, value = key.replace(known, hidden), value.replace(known, hidden)
        replies[key].add(value)
    assert all(len(found) == 1 for found in replies.values())


def test_summaries_keep_the_facts_and_are_shorter() -> None:
    for prompt, summary in rows("summarization", 500):
        article = text(prompt)
        assert len(summary) < 0.5 * len(article)
        facts = [word.strip(".,;") for word in summary.split()[1:] if word[0].isupper() or word[0].isdigit()]
        assert len(facts) >= 4
        assert all(fact in article for fact in facts)


def test_an_unknown_task_is_a_users_mistake() -> None:
    with pytest.raises(InvalidJob, match="'sentiment' is none of nli, conversation"):
        list(generate("sentiment", 1, 0))


def _words(passage: str) -> list[str]:
    return "".join(c.lower() if c.isalnum() else " " for c in passage).split()


def _shingles(passage: str) -> set[tuple[str, ...]]:
    words = _words(passage)
    return set(zip(words, words[1:], words[2:], strict=False))


def _naive_bayes(data: list[tuple[list[Message], str]], half: Callable[[Sequence[Message]], str]) -> float:
    """Held-out accuracy of naive Bayes on words and pairs of words; two thirds of the rows are trained on."""
    data = random.Random(0).sample(data, len(data))
    border = 2 * len(data) // 3
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for prompt, label in data[:border]:
        counts[label].update(_features(half(prompt)))
    vocabulary = len(set().union(*counts.values()))

    def guess(passage: str) -> str:
        def score(label: str) -> float:
            words, total = counts[label], counts[label].total()
            return sum(math.log((words[word] + 1) / (total + vocabulary)) for word in _features(passage))

        return max(counts, key=score)

    right = sum(guess(half(prompt)) == label for prompt, label in data[border:])
    return right / (len(data) - border)


def _features(passage: str) -> list[str]:
    words = _words(passage)
    return words + [f"{a} {b}" for a, b in pairwise(words)]
