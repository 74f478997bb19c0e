"""Names of new runs, the same for every backend."""

from __future__ import annotations

import random
import re
import string

ADJECTIVES = (
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp", "deft", "eager", "fair",
    "fine", "fresh", "gentle", "glad", "golden", "green", "happy", "icy", "jolly", "keen", "kind", "light", "lively",
    "lucky", "mellow", "neat", "nimble", "noble", "proud", "quick", "quiet", "rapid", "rosy", "sharp", "silver",
    "sleek", "smart", "snug", "soft", "spry", "still", "sunny", "swift", "tidy", "warm", "wise", "witty",
)  # fmt: skip
NOUNS = (
    "acorn", "badger", "beacon", "birch", "bison", "brook", "canyon", "cedar", "cloud", "comet", "coral", "crane",
    "creek", "dune", "falcon", "fern", "finch", "fjord", "forest", "fox", "garden", "glacier", "hawk", "heron", "hill",
    "island", "jay", "lagoon", "lake", "lark", "lily", "lynx", "maple", "meadow", "moon", "oak", "otter", "owl",
    "panda", "pebble", "pine", "plum", "quail", "raven", "river", "robin", "sparrow", "star", "stone", "swan", "tiger",
    "tulip", "valley", "wren",
)  # fmt: skip


def new_name(prefix: str) -> str:
    """`PREFIX_a1b2c3`, or `swift_otter_a1b2c3` without a prefix."""
    chooser = random.SystemRandom()
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", prefix).strip("-_")[:60]
    words = slug or f"{chooser.choice(ADJECTIVES)}_{chooser.choice(NOUNS)}"
    return f"{words}_{''.join(chooser.choices(string.ascii_lowercase + string.digits, k=6))}"
