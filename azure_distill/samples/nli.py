"""Natural-language inference: does the premise settle what the hypothesis says?

The hypothesis is drawn before the label and without regard to it; the premise is then made so that the label is right.
So the hypothesis alone says nothing about the label.  A neutral premise states a fact of the same kind about somebody
else, so neither does the premise alone.
"""

from __future__ import annotations

import random

from azure_distill.samples.words import DAYS, PEOPLE, TOWNS, pick, sentence, words

LABELS = ("entailment", "contradiction", "neutral")

# (hypothesis, facts that make it true, facts that make it false), each a predicate whose subject is a person
Claim = tuple[str, str, str]

THINGS = words(
    "pears lamps tickets chairs letters maps bricks kites bottles stamps candles baskets mirrors clocks blankets "
    "ropes buckets postcards helmets lanterns cushions plates"
)
COUNTED = words("bought sold packed counted painted delivered repaired collected washed carried")
KINDS = {
    "fruit": words("plums cherries apricots grapes melons"),
    "tools": words("hammers pliers chisels wrenches drills"),
    "vegetables": words("carrots leeks radishes turnips cabbages"),
    "clothing": words("scarves jackets sweaters gloves trousers"),
    "furniture": words("stools wardrobes benches bookcases sofas"),
    "musical instruments": words("flutes trumpets violins guitars drums"),
}
INDOORS = words("library cellar kitchen office museum laundry attic archive bakery chapel")
OUTDOORS = words("orchard vineyard meadow harbour playground car_park rose_garden cornfield campsite quarry")
WORK = words("report quilt mural model survey translation puzzle fence script catalogue budget kennel")
BOOKS = ("novel", "manual", "atlas", "play", "diary", "handbook", "biography", "guide")
BYSTANDERS = (
    "was there as well", "kept an eye on the time", "waited nearby", "talked to a neighbour", "had come along",
    "took a few photographs", "made some tea", "listened to the radio", "was on the phone", "read the newspaper",
)  # fmt: skip


def count(rng: random.Random) -> Claim:
    verb, thing, limit = pick(rng, COUNTED), pick(rng, THINGS), rng.randint(12, 60)
    more, fewer = limit + rng.randint(1, 9), limit - rng.randint(1, 9)
    if rng.random() < 0.5:
        return f"{verb} more than {limit} {thing}", f"{verb} {more} {thing}", f"{verb} {fewer} {thing}"
    return f"{verb} fewer than {limit} {thing}", f"{verb} {fewer} {thing}", f"{verb} {more} {thing}"


def price(rng: random.Random) -> Claim:
    thing, limit = pick(rng, THINGS)[:-1], rng.randint(20, 90)
    more, less = limit + rng.randint(1, 15), limit - rng.randint(1, 15)
    text = f"paid {{}} dollars for the {thing}"
    if rng.random() < 0.5:
        return text.format(f"over {limit}"), text.format(more), text.format(less)
    return text.format(f"under {limit}"), text.format(less), text.format(more)


def kind(rng: random.Random) -> Claim:
    true, false = rng.sample(list(KINDS), 2)
    verb = pick(rng, ("came home with", "ordered", "looked for", "was given", "asked for", "sold"))
    return f"{verb} {true}", f"{verb} only {pick(rng, KINDS[true])}", f"{verb} only {pick(rng, KINDS[false])}"


def place(rng: random.Random) -> Claim:
    act = pick(rng, ("worked", "waited", "rested", "sang", "rehearsed", "studied", "had lunch", "sat"))
    inside, outside = (f"{act} in the {pick(rng, where).replace('_', ' ')}" for where in (INDOORS, OUTDOORS))
    return (f"{act} indoors", inside, outside) if rng.random() < 0.5 else (f"{act} outdoors", outside, inside)


def time(rng: random.Random) -> Claim:
    hour, verb = rng.randint(8, 18), pick(rng, ("arrived", "left", "called", "started", "came back", "went out"))
    hours = (hour - rng.randint(1, 3), hour + rng.randint(0, 2))
    early, late = (f"{verb} at {h}:{rng.randint(1, 59):02}" for h in hours)
    if rng.random() < 0.5:
        return f"{verb} before {hour}:00", early, late
    return f"{verb} after {hour}:00", late, early


def finished(rng: random.Random) -> Claim:
    work = pick(rng, WORK)
    done = pick(rng, (f"completed the whole {work}", f"put the last touch to the {work} and was through with it"))
    open_ = pick(rng, (f"gave up the {work} halfway", f"has about half of the {work} still to do"))
    return (f"finished the {work}", done, open_) if rng.random() < 0.5 else (f"did not finish the {work}", open_, done)


def parts(rng: random.Random) -> Claim:
    book, total = pick(rng, BOOKS), rng.randint(6, 24)
    full = f"read {total} of the {total} chapters of the {book}"
    some = f"read {rng.randint(2, total - 1)} of the {total} chapters of the {book}"
    if rng.random() < 0.5:
        return f"read every chapter of the {book}", full, some
    return f"skipped at least one chapter of the {book}", some, full


def possession(rng: random.Random) -> Claim:
    thing = pick(rng, THINGS)[:-1]
    has = pick(rng, (f"found the {thing} and keeps it at home", f"got the {thing} back and holds on to it"))
    lost = pick(rng, (f"gave the {thing} away for good", f"dropped the {thing} into the river, where it sank"))
    if rng.random() < 0.5:
        return f"has the {thing} now", has, lost
    return f"no longer has the {thing}", lost, has


CLAIMS = (count, price, kind, place, time, finished, parts, possession)


def draw(rng: random.Random, number: int) -> list[dict[str, str]]:
    hypothesis, true, false = CLAIMS[int(rng.random() * len(CLAIMS))](rng)
    who, other = rng.sample(PEOPLE, 2)
    label = LABELS[number % len(LABELS)]
    fact = {"entailment": true, "contradiction": false, "neutral": pick(rng, (true, false))}[label]
    subject, bystander = (other, who) if label == "neutral" else (who, other)
    clauses = [f"{subject} {fact}", f"{bystander} {pick(rng, BYSTANDERS)}"]
    rng.shuffle(clauses)
    premise = f"on {pick(rng, DAYS)} in {pick(rng, TOWNS)}, {clauses[0]}; {clauses[1]}"
    question = f"Premise: {sentence(premise)}\nHypothesis: {sentence(f'{who} {hypothesis}')}"
    return [{"role": "user", "content": question}, {"role": "assistant", "content": label}]
