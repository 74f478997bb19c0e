"""Routing of support tickets: which department has to act?

A ticket speaks of three departments' business, but complains about one only; what the others did is mentioned as done
well, in the same words that complaints use.  So a word alone does not give the department away.
"""

from __future__ import annotations

import random

from azure_distill.samples.words import DAYS, PEOPLE, TOWNS, pick, sentence

LABELS = ("billing", "delivery", "account", "technical", "returns")

PRODUCTS = (
    "desk lamp", "coffee grinder", "rain jacket", "office chair", "bluetooth speaker", "fitness watch",
    "bread maker", "camping stove", "suitcase", "electric kettle", "monitor arm", "garden hose", "air purifier",
    "standing desk", "water filter", "electric toothbrush",
)  # fmt: skip

# department -> (what is wrong, what went well); {item} is the product
TOPICS = {
    "billing": (
        ("the same invoice was charged to my card twice", "the invoice shows a price that is not the one I agreed to",
         "the voucher I entered was not taken off the amount", "I still have no invoice for this order",
         "you took the money although I chose to pay after delivery", "the tax on the invoice is wrong"),
        ("the invoice is correct", "the amount on my card is right", "the voucher was taken off as promised",
         "I have paid the invoice already", "the price was the one I agreed to"),
    ),
    "delivery": (
        ("the parcel has not left your warehouse for nine days", "the tracking page says delivered but nothing came",
         "the courier left the parcel at a wrong address", "only one of the two parcels has arrived",
         "the courier did not come on the day we agreed", "I need the parcel to go to a new address before it leaves"),
        ("the parcel came on the day we agreed", "the courier was friendly", "tracking worked well",
         "both parcels have arrived", "it was left at the right address"),
    ),
    "account": (
        ("I cannot log in since I changed my password", "my old email address is still the one in my profile",
         "the code for the second login step never comes", "somebody else seems to have logged in to my profile",
         "I want my profile and all of its data deleted", "two profiles exist under my name and should be merged"),
        ("I can log in without trouble", "my profile shows the right email address", "the new password works",
         "the login code came at once", "my profile is up to date"),
    ),
    "technical": (
        ("the {item} stops after a minute", "the {item} does not connect to the app any more",
         "the display of the {item} stays dark", "the {item} makes a loud noise since the update",
         "the app closes as soon as I choose the {item}", "the update of the {item} never gets past half"),
        ("the {item} itself works well", "the app found the {item} at once", "the update went through",
         "the {item} is quiet", "the display is bright and clear"),
    ),
    "returns": (
        ("I want to send the {item} back and need a label", "the {item} I sent back was not refunded",
         "the {item} is too small, I would like another size", "the return page refuses my order number",
         "you sent a wrong {item}, please exchange it", "nobody collected the {item} that I give back"),
        ("the size is right and I will keep the {item}", "the exchange of my last order was quick",
         "the refund for my last order came", "I do not want to give the {item} back", "the box held a return label"),
    ),
}  # fmt: skip

OPENINGS = (
    "Hello, I ordered a {item} on {day}.", "Hi, this is about the {item} I bought on {day}.",
    "Good morning, {who} from {town} here, about my {item}.", "Dear team, my order is a {item} for {town}.",
    "Hello, it is {who} again, about the {item}.", "Hi, I live in {town} and have a question on my {item} order.",
)  # fmt: skip
CLOSINGS = (
    "What can you do?", "Please help.", "Thank you, {who}", "Could you look into it by {day}?",
    "I look forward to your answer.", "Best wishes from {town}, {who}",
)  # fmt: skip


def draw(rng: random.Random, number: int) -> list[dict[str, str]]:
    label = LABELS[number % len(LABELS)]
    others = rng.sample([topic for topic in LABELS if topic != label], 2)
    parts = [pick(rng, TOPICS[label][0]), *(pick(rng, TOPICS[other][1]) for other in others)]
    rng.shuffle(parts)
    text = " ".join([pick(rng, OPENINGS), *map(sentence, parts), pick(rng, CLOSINGS)])
    facts = {"item": pick(rng, PRODUCTS), "who": pick(rng, PEOPLE), "town": pick(rng, TOWNS), "day": pick(rng, DAYS)}
    return [{"role": "user", "content": text.format(**facts)}, {"role": "assistant", "content": label}]
