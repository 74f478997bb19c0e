"""Short news items, facts among filler, with a one-sentence summary that keeps the facts."""

from __future__ import annotations

import random

from azure_distill.samples.words import DAYS, FAMILIES, PEOPLE, TOWNS, pick, sentence

# (first facts, later facts, summary); the same slots in all three
STORIES = (
    ("a new {building} opens in {town} on {day}", "{name}, who led the work, said it cost {number} thousand dollars",
     "{town} opens a new {building} on {day}; it cost {number} thousand dollars, said {name}"),
    ("the council of {town} voted on {day} to close the {building}",
     "{name} of the council said that {number} people a day still use it",
     "The council of {town} voted on {day} to close the {building}, which {number} people a day use, said {name}"),
    ("a storm damaged the {building} of {town} on {day}", "repairs will take {number} days, according to {name}",
     "A storm damaged the {building} of {town} on {day}; {name} expects {number} days of repairs"),
    ("the festival of {town} starts on {day} in front of the {building}",
     "the organiser {name} expects {number} visitors a day",
     "The festival of {town} starts on {day} at the {building}; {name} expects {number} visitors a day"),
    ("thieves broke into the {building} of {town} on {day}",
     "{name} of the police said that {number} objects are missing",
     "Thieves took {number} objects from the {building} of {town} on {day}, said {name} of the police"),
    ("a school class from {town} cleaned the park beside the {building} on {day}",
     "their teacher {name} counted {number} bags of waste",
     "On {day} a class from {town} led by {name} gathered {number} bags of waste beside the {building}"),
    ("the bus line between the {building} of {town} and the station stops running on {day}",
     "{name} of the bus company blamed {number} missing drivers",
     "The bus line to the {building} of {town} ends on {day}; {name} blames {number} missing drivers"),
    ("a fire broke out in the {building} of {town} on {day}", "{name} and {number} other people were led out unhurt",
     "After a fire in the {building} of {town} on {day}, {name} and {number} other people were led out unhurt"),
    ("{town} sells its {building} on {day}", "{name} offered {number} thousand dollars for it",
     "{town} sells its {building} on {day}; {name} offered {number} thousand dollars"),
    ("the runners of {town} start at the {building} on {day}", "last year's winner {name} needed {number} minutes",
     "Runners start at the {building} of {town} on {day}; {name} won last year in {number} minutes"),
)  # fmt: skip
BUILDINGS = (
    "library", "museum", "swimming pool", "theatre", "town hall", "market hall", "train station", "sports hall",
    "art gallery", "old mill", "cinema", "water tower", "concert hall", "youth club", "botanical garden",
    "observatory",
)  # fmt: skip
FILLERS = (
    "the weather had been mild for most of the week", "many people stopped to look and to take photographs",
    "some said they had never seen anything like it", "a few older residents remembered other times",
    "coffee and cake were sold across the street", "traffic was slow for about an hour",
    "the local paper had written about it before", "opinions in the neighbourhood differ, as they often do",
    "children played on the grass nearby", "the mayor was travelling and could not be reached",
    "a dog barked through most of the speeches", "the street is lined with old chestnut trees",
    "nobody knew at first whom to ask", "it was not the first news of this kind this year",
    "the shops around stayed open as usual", "a small band played until the evening",
    "visitors from {other} compared it with their own town", "a reader from {other} sent us a long letter about it",
    "people in {other} have followed the matter with interest", "the next meeting will be held in {other}",
)  # fmt: skip


def draw(rng: random.Random, number: int) -> list[dict[str, str]]:
    first, later, summary = STORIES[number % len(STORIES)]
    town, other = rng.sample(TOWNS, 2)
    facts = {
        "building": pick(rng, BUILDINGS),
        "town": town,
        "other": other,
        "day": pick(rng, DAYS),
        "name": f"{pick(rng, PEOPLE)} {pick(rng, FAMILIES)}",
        "number": str(rng.randint(11, 290)),
    }
    fillers = rng.sample(FILLERS, 4)
    article = [first, *fillers[:2], later, *fillers[2:]]
    if rng.random() < 0.5:
        article = [fillers[0], first, fillers[1], later, *fillers[2:]]
    text = " ".join(sentence(part.format(**facts)) for part in article)
    return [{"role": "user", "content": text}, {"role": "assistant", "content": sentence(summary.format(**facts))}]
