"""Word problems of two steps with a worked solution that ends in `#### answer`; every answer is a whole number."""

from __future__ import annotations

import random
from collections.abc import Callable

from azure_distill.samples.words import DAYS, PEOPLE, TOWNS, pick, words

THINGS = words(
    "pens mugs apples tickets candles books plants rolls towels batteries lemons brushes bowls bulbs folders"
)
SEEDS = words("tulips carrots beans roses onions lettuces sunflowers pumpkins herbs leeks")

Solved = tuple[str, list[str], int]  # problem, steps, answer


def change(rng: random.Random) -> Solved:
    count, each = rng.randint(3, 18), rng.randint(2, 12)
    total = count * each
    paid = (total // 50 + 1) * 50
    who, thing, town = pick(rng, PEOPLE), pick(rng, THINGS), pick(rng, TOWNS)
    text = f"At the market of {town}, {who} buys {count} {thing} for {each} dollars each and pays with {paid} dollars. "
    return (
        text + f"How many dollars does {who} get back?",
        [f"{count} * {each} = {total}", f"{paid} - {total} = {paid - total}"],
        paid - total,
    )


def share(rng: random.Random) -> Solved:
    people, each, first = rng.randint(3, 9), rng.randint(4, 25), rng.randint(5, 40)
    total = max(people * each, first + people)
    total += -total % people
    who, other, thing = *rng.sample(PEOPLE, 2), pick(rng, THINGS)
    text = (
        f"{who} has {first} {thing} and {other} has {total - first}. They share all of them equally among {people} "
        f"children from {pick(rng, TOWNS)}. How many {thing} does each child get?"
    )
    return text, [f"{first} + {total - first} = {total}", f"{total} / {people} = {total // people}"], total // people


def travel(rng: random.Random) -> Solved:
    speed, hours, rest = rng.randint(8, 95), rng.randint(2, 9), rng.randint(5, 80)
    who, start, end = pick(rng, PEOPLE), *rng.sample(TOWNS, 2)
    way = speed * hours
    text = (
        f"On {pick(rng, DAYS)} {who} leaves {start} for {end} and travels {speed} kilometres an hour "
        f"for {hours} hours. Then {rest} kilometres remain. How far is it from {start} to {end}?"
    )
    return text, [f"{speed} * {hours} = {way}", f"{way} + {rest} = {way + rest}"], way + rest


def saving(rng: random.Random) -> Solved:
    weekly, weeks, spent = rng.randint(6, 40), rng.randint(4, 20), rng.randint(5, 23)
    total = weekly * weeks
    who = pick(rng, PEOPLE)
    text = (
        f"{who} saves {weekly} dollars every {pick(rng, DAYS)} for {weeks} weeks and then spends {spent} dollars on "
        f"{pick(rng, THINGS)}. How many dollars does {who} still have?"
    )
    return text, [f"{weekly} * {weeks} = {total}", f"{total} - {spent} = {total - spent}"], total - spent


def garden(rng: random.Random) -> Solved:
    rows, plants, eaten = rng.randint(4, 15), rng.randint(5, 20), rng.randint(3, 19)
    who, plant, total = pick(rng, PEOPLE), pick(rng, SEEDS), rows * plants
    text = (
        f"In a garden near {pick(rng, TOWNS)}, {who} plants {rows} rows of {plants} {plant}. "
        f"Snails eat {eaten} of them. How many {plant} are left?"
    )
    return text, [f"{rows} * {plants} = {total}", f"{total} - {eaten} = {total - eaten}"], total - eaten


def discount(rng: random.Random) -> Solved:
    price, percent = 20 * rng.randint(2, 30), 5 * rng.randint(1, 12)
    off = price * percent // 100
    who, thing = pick(rng, PEOPLE), pick(rng, THINGS)
    text = (
        f"A set of {thing} costs {price} dollars in {pick(rng, TOWNS)}. On {pick(rng, DAYS)} the shop takes {percent} "
        f"percent off. How many dollars does {who} pay for the set?"
    )
    return text, [f"{price} * {percent} / 100 = {off}", f"{price} - {off} = {price - off}"], price - off


def ages(rng: random.Random) -> Solved:
    young, times, years = rng.randint(3, 15), rng.randint(2, 5), rng.randint(2, 20)
    first, second = rng.sample(PEOPLE, 2)
    old = young * times
    text = (
        f"{first} from {pick(rng, TOWNS)} is {young} years old and {second} is {times} times as old. "
        f"How old will {second} be in {years} years?"
    )
    return text, [f"{young} * {times} = {old}", f"{old} + {years} = {old + years}"], old + years


def boxes(rng: random.Random) -> Solved:
    full, each, loose = rng.randint(3, 25), rng.randint(6, 24), rng.randint(2, 40)
    total, thing = full * each, pick(rng, THINGS)
    text = (
        f"A shop in {pick(rng, TOWNS)} gets {full} boxes with {each} {thing} in each, and {pick(rng, PEOPLE)} brings "
        f"{loose} more {thing} on {pick(rng, DAYS)}. How many {thing} does the shop have now?"
    )
    return text, [f"{full} * {each} = {total}", f"{total} + {loose} = {total + loose}"], total + loose


FAMILIES: tuple[Callable[[random.Random], Solved], ...] = (
    change, share, travel, saving, garden, discount, ages, boxes,
)  # fmt: skip


def draw(rng: random.Random, number: int) -> list[dict[str, str]]:
    problem, steps, answer = FAMILIES[number % len(FAMILIES)](rng)
    solution = "\n".join([*steps, f"#### {answer}"])
    return [{"role": "user", "content": problem}, {"role": "assistant", "content": solution}]
