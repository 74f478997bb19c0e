"""Customer support: conversations of two to four turns, the last reply a function of what was said before it.

A reply's facts can be checked: the customer's name, the reference, the case's category, action and days.
"""

from __future__ import annotations

import random

from azure_distill.samples.issues import ISSUES, Issue
from azure_distill.samples.words import FAMILIES, PEOPLE, pick, words

SYSTEM = "You answer customers of the Northwind shop."
GREETINGS = ("Hello, {name} here,", "Hi, I am {name} and", "Good morning, this is {name},", "Hi, {name} again,")
PRODUCTS = words("kettle lamp jacket chair speaker watch toaster stove suitcase monitor blender router tent printer")
REFERENCES = ("It is {ref}.", "The number is {ref}.", "Sure, {ref}.", "I found it: {ref}.", "{ref}, I think.")
HOW_LONG = ("How long will that take?", "When will it be done?", "And how many days is that?", "By when, please?")
CONFIRM = (
    "Can you confirm that in writing?", "Please send me a summary of this.", "I need this by email.",
    "Could I have a written note?",
)  # fmt: skip


def draw(rng: random.Random, number: int) -> list[dict[str, str]]:
    issue = ISSUES[number % len(ISSUES)]
    name = f"{pick(rng, PEOPLE)} {pick(rng, FAMILIES)}"
    reference = f"NW-{rng.randint(10_000, 99_999)}"
    greeting = pick(rng, GREETINGS).format(name=name)
    turns = [
        (f"{greeting} {pick(rng, issue.openings)}. It is about the {pick(rng, PRODUCTS)}.", _ask(name)),
        (pick(rng, REFERENCES).format(ref=reference), _act(issue, reference)),
    ]
    follow_ups = [
        (pick(rng, HOW_LONG), f"Case {reference} will be settled within {_days(issue)}."),
        (pick(rng, CONFIRM), f"I have emailed you the summary, {name}: case {reference}, {issue.category}."),
    ]
    rng.shuffle(follow_ups)
    turns += follow_ups[: rng.randrange(3)]
    messages = [{"role": "system", "content": SYSTEM}]
    for question, reply in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return messages


def _ask(name: str) -> str:
    return f"Thank you, {name}. I am sorry to hear that. What is your order number?"


def _act(issue: Issue, reference: str) -> str:
    return f"I have filed {reference} under {issue.category}, and {issue.action}."


def _days(issue: Issue) -> str:
    return "one working day" if issue.days == 1 else f"{issue.days} working days"
