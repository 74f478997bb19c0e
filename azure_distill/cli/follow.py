"""Following a run: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

from azure_distill.backend import TERMINAL, WARNING, Backend, Event, Run, told_progress
from azure_distill.cli.render import console, duration, first_line, step_table

PLAIN_INTERVAL = 10.0


def follow(backend: Backend, name: str) -> Run:
    """Show a run until it ends; returns its last state."""
    screen = console(stderr=True)
    if screen.is_terminal and not screen.is_dumb_terminal:
        from rich.live import Live

        with Live(step_table(backend.get(name)), console=screen, refresh_per_second=4) as live:
            for warning in _ticks(backend, name):
                if warning:
                    screen.print(warning, markup=False, style="yellow")
                live.update(step_table(backend.get(name)))
            live.update(step_table(backend.get(name)))
    else:
        for line in _plain_lines(backend, name):
            screen.print(line, markup=False, soft_wrap=True)
    return backend.get(name)


def _ticks(backend: Backend, name: str) -> Iterator[str | None]:
    """At most four moments a second at which the table may have changed, and every warning of a step."""
    shown = 0.0
    for event in backend.follow(name):
        now = time.monotonic()
        warning = _warning(event)
        if warning or event.line is None or now - shown >= 0.25:
            shown = now
            yield warning


def _warning(event: Event) -> str | None:
    return f"[{event.step}] {event.line}" if event.line and event.line.startswith(WARNING) else None


def _plain_lines(backend: Backend, name: str) -> Iterator[str]:
    """A line for every change and every warning of a step, and each step's progress every ten seconds."""
    spoken: dict[str, float] = {}
    told: dict[str, str] = {}
    for event in backend.follow(name):
        if event.line is None:
            line = _change(backend.get(name), event)
            if line and told.get(event.step) != line:
                told[event.step] = line
                yield line
        elif warning := _warning(event):
            yield warning
        elif progress := told_progress(event.line):
            now = time.monotonic()
            if now - spoken.get(event.step, 0.0) >= PLAIN_INTERVAL:
                spoken[event.step] = now
                yield f"[{event.step}] {progress}"


def _change(run: Run, event: Event) -> str | None:
    state = run.steps.get(event.step)
    if state is None:
        return None
    if state.cached:
        return f"[{event.step}] cached (from {state.cached})"
    line = f"[{event.step}] {state.status}"
    if state.status in TERMINAL:
        line += f" after {duration(state.seconds)}" if state.seconds is not None else ""
        return f"{line}: {first_line(state.error)}" if state.error else line
    return f"{line} ({state.reason})" if state.reason else line
