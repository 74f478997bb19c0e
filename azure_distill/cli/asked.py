"""What the teacher will be asked, in words: the estimate, and prompts shortened to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from azure_distill.cli.render import duration

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from azure_distill.plan.estimate import Estimate, Load

LONGEST = 480  # characters shown of a message
ENDS = 2  # messages shown at either end of a prompt


def estimate_shown(found: Estimate) -> Table:
    """Rows, then what is expected, what it is at most, and what both assume."""
    from rich.table import Table

    rows = ", ".join(f"{count:,} {split}" for split, count in found.rows.items())
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_row("asked about", f"{rows} rows" if rows else "nothing")
    if found.expected:
        table.add_row("expected", _load(found.expected))
    table.add_row("at most", _load(found.most))
    table.add_row("assumed", "; ".join(found.assumed))
    return table


def _load(load: Load) -> str:
    parts = [
        f"{load.requests:,} requests",
        f"{load.prompt_tokens:,} tokens of questions",
        f"{load.completion_tokens:,} of answers",
    ]
    parts += [] if load.cost is None else [f"{load.cost:,.2f} US dollars"]
    parts += [] if load.seconds is None else [duration(load.seconds)]
    return ", ".join(parts)


def prompts_shown(prompts: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """A panel for each prompt; long messages and many examples are shortened."""
    from rich.panel import Panel
    from rich.text import Text

    for number, prompt in enumerate(prompts, 1):
        body = Text()
        for role, content in _messages(prompt["messages"]):
            body.append(f"{role}\n" if role else "", style="bold cyan").append(f"{content}\n")
        body.rstrip()
        title = f"prompt {number} of {len(prompts)}: {prompt['split']} row {prompt['id']}"
        yield Panel(body, title=Text(title), title_align="left", border_style="dim")


def _messages(messages: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    left_out = len(messages) - 2 * ENDS - 1
    for place, message in enumerate(messages):
        if left_out < 2 or not ENDS < place <= ENDS + left_out:
            yield message["role"], shortened(message["content"])
        elif place == ENDS + 1:
            yield "", f"… {left_out} messages more …"


def shortened(text: str) -> str:
    """The beginning and the end of a long text."""
    if len(text) <= LONGEST:
        return text
    head, tail = text[: LONGEST * 2 // 3].rstrip(), text[-LONGEST // 4 :].lstrip()
    return f"{head} … {len(text) - len(head) - len(tail):,} characters … {tail}"
