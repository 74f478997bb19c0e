"""The contenders' colours: apart for all kinds of colour vision, and dark or light enough for their paper."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

import evaluation.page

Colour = NDArray[np.float64]
ROLES = ("teacher", "baseline", "gold", "other", "student")
# linear RGB as it is seen by the three kinds of dichromats (Machado, Oliveira and Fernandes 2009, severity 1)
VISION: dict[str, Colour] = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> Colour:
    value = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: Colour) -> Colour:
    """CIELAB of linear sRGB."""
    x, y, z = np.cbrt(XYZ @ rgb.clip(0, 1) / np.array([0.95047, 1.0, 1.08883]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def themes() -> list[dict[str, str]]:
    """{name: colour} of the light and the dark page."""
    css = (evaluation.page.TEMPLATES / "report.css").read_text(encoding="utf-8")
    roots = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", root)) for root in roots]


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_no_two_contenders_look_alike_to_anyone(theme: dict[str, str], vision: str) -> None:
    seen = {role: lab(VISION[vision] @ linear(theme[role])) for role in ROLES}
    near = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(ROLES, 2)}
    assert min(near.values()) > 15, near  # two greys of 10 and 25 % are 15 apart


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
def test_colours_stand_out_from_the_paper(theme: dict[str, str]) -> None:
    def luminance(colour: str) -> float:
        return float(XYZ[1] @ linear(colour))

    def contrast(one: str, other: str) -> float:
        light, dark = sorted((luminance(one), luminance(other)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    shapes = {role: contrast(theme[role], theme["sheet"]) for role in ROLES}
    assert min(shapes.values()) >= 3, shapes  # WCAG 1.4.11 for graphics
    texts = {
        name: contrast(theme[name], theme[paper])
        for name in ("ink", "soft", "good", "bad")
        for paper in ("paper", "own")
    }
    assert min(texts.values()) >= 4.5, texts  # WCAG 1.4.3 for text
