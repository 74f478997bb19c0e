"""Reading comprehension with four options: who put what where, after one thing was moved."""

from __future__ import annotations

import random

from azure_distill.samples.words import PEOPLE, pick, words

THINGS = words(
    "key wallet torch compass notebook whistle camera ring ticket medal passport necklace stamp thimble magnet dice "
    "candle marble pencil ribbon"
)
PLACES = words(
    "drawer basket cupboard suitcase bucket trunk pantry garage shed fridge wardrobe chest mailbox backpack oven "
    "crate desk barrel cellar toolbox"
)
PUT = ("put the {thing} in the {place}", "left the {thing} in the {place}", "hid the {thing} in the {place}",
       "placed the {thing} in the {place}", "locked the {thing} in the {place}")  # fmt: skip
MOVE = ("Later {who} moved the {thing} to the {place}.", "Then {who} took the {thing} and put it in the {place}.",
        "In the evening {who} carried the {thing} to the {place}.")  # fmt: skip
LETTERS = "ABCD"


def draw(rng: random.Random, number: int) -> list[dict[str, str]]:
    people, things, places = rng.sample(PEOPLE, 4), rng.sample(THINGS, 4), rng.sample(PLACES, 5)
    moved, mover = rng.randrange(4), rng.randrange(4)
    story = [f"{people[i]} {pick(rng, PUT).format(thing=things[i], place=places[i])}." for i in range(4)]
    story.append(pick(rng, MOVE).format(who=people[mover], thing=things[moved], place=places[4]))
    now = [places[4] if i == moved else places[i] for i in range(4)]
    question, right, wrong = _question(rng, people, things, places, now, moved, mover)
    options = rng.sample(wrong, 3)
    position = number % 4
    options.insert(position, right)
    lines = [" ".join(story), question, *(f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=True))]
    return [{"role": "user", "content": "\n".join(lines)}, {"role": "assistant", "content": LETTERS[position]}]


def _question(
    rng: random.Random, people: list[str], things: list[str], places: list[str], now: list[str], moved: int, mover: int
) -> tuple[str, str, list[str]]:
    """A question about the story, its answer, and at least three wrong answers of the same kind."""
    one = moved if rng.random() < 0.3 else rng.randrange(4)
    kind = rng.randrange(5)
    if kind == 0:
        return f"Where is the {things[one]} at the end?", now[one], [p for p in places if p != now[one]]
    if kind == 1:
        return f"Where was the {things[one]} at first?", places[one], [p for p in places if p != places[one]]
    if kind == 2:
        return f"What is in the {now[one]} at the end?", things[one], [t for t in things if t != things[one]]
    if kind == 3:
        first = f"Who was the first to handle the {things[one]}?"
        return first, people[one], [p for p in people if p != people[one]]
    return f"Who moved the {things[moved]}?", people[mover], [p for p in people if p != people[mover]]
