"""Words that several generators draw from."""

from __future__ import annotations

import random
from collections.abc import Sequence


def words(text: str) -> list[str]:
    """The words of a text: how long lists are written here."""
    return text.split()


PEOPLE = words(
    "Ada Bruno Carla Dmitri Elena Farid Grace Hugo Ines Jonas Keiko Liam Mara Nadia Omar Petra Quentin Rosa Samir "
    "Tessa Umar Vera Walter Ximena Yusuf Zoe Amara Bastian Chiara Dario Emil Fatou Goran Hanna Igor Jana Kofi Lena "
    "Mateo Nora Otto Priya Rahul Sofia Tomas Ursula Viktor Wanda Yara Zdenek"
)

FAMILIES = words(
    "Adler Bauer Costa Dahl Evans Ferrari Gupta Haas Ivanov Jensen Kaya Lopez Moreau Novak Okafor Pereira Quinn Rossi "
    "Sato Tanaka Usman Vogel Weber Xu Yilmaz Zhang Almeida Brandt Castro Duarte Eriksen Fischer Greco Hansen Ito "
    "Jovanovic"
)

TOWNS = words(
    "Alderton Brookfield Castleford Dunmore Eastvale Fairhaven Greenford Harrowgate Ivybridge Kingsmere Larkhill "
    "Millbrook Northwick Oakham Pinewood Queensbury Redcliff Stonebridge Thornbury Underwood Westport Yarrow"
)

DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")


def pick(rng: random.Random, choices: Sequence[str]) -> str:
    """One of `choices`, each as likely."""
    return choices[int(rng.random() * len(choices))]


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."
