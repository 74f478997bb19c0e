"""Figures as text, the same in the sentences of metrics.json and in the report."""

from __future__ import annotations

from typing import Any

from evaluation.metrics import LATENCY, PERCENT, TITLES

IN_PROCESS = "in process, batch 1"  # how the latency of a local contender is measured
ROLE_NAMES = {
    "teacher": "teacher",
    "baseline": "untrained student",
    "gold_only": "student trained on the gold rows alone",
    "other": "other model",
    "student": "distilled student",
}


SHORT_NAMES = ROLE_NAMES | {"baseline": "untrained", "gold_only": "gold only", "other": "other", "student": "student"}


def title(metric: str) -> str:
    """`rouge_l` → `ROUGE-L`."""
    return TITLES.get(metric, metric)


def inline(metric: str) -> str:
    """A title inside a sentence: `Token F1` → `token F1`, `BLEU` as it is."""
    name = title(metric)
    return name[0].lower() + name[1:] if name[1:2].islower() else name


def amount(metric: str, value: float) -> str:
    """A value of a metric: shares as `91.5 %`, BLEU and chrF as `31.2`, times as `3.4 ms`."""
    if metric == LATENCY:
        return milliseconds(value)
    return f"{value:.1f}" if metric in PERCENT else percent(value)


def points(metric: str, value: float) -> str:
    """A difference of a metric in points, with its sign."""
    return f"{value if metric in PERCENT else 100 * value:+.1f}".replace("-", "−")


def span(metric: str, figure: dict[str, Any]) -> str:
    """The interval of a figure, `88.4–93.8 %`; empty where there is none."""
    if figure.get("low") is None:
        return ""
    if metric in PERCENT or metric == LATENCY:
        return f"{amount(metric, figure['low'])}–{amount(metric, figure['high'])}"
    return percent_span(figure)


def percent_span(figure: dict[str, Any]) -> str:
    """The interval of a share, `88.4–93.8 %`; empty where there is none."""
    if figure.get("low") is None:
        return ""
    return f"{100 * figure['low']:.1f}–{percent(figure['high'])}"


def points_span(metric: str, figure: dict[str, Any]) -> str:
    """The interval of a difference, `+8.1 to +16.4`; empty where there is none."""
    if figure.get("low") is None:
        return ""
    return f"{points(metric, figure['low'])} to {points(metric, figure['high'])}"


def rows(n: int) -> str:
    """`n = 400`, unbroken."""
    return f"n\u00a0=\u00a0{n:,}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"  # a space that does not break


def p_value(value: float) -> str:
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def milliseconds(value: float) -> str:
    if value >= 999.5:
        return f"{value / 1000:.3g}\u00a0s"
    digits = 0 if value >= 100 else 1 if value >= 1 else 2
    return f"{value:.{digits}f}\u00a0ms"


def size(value: float) -> str:
    """Bytes in decimal units, as weights are usually quoted."""
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.3g}\u00a0{unit}"
        value /= 1000
    return f"{value:.3g}\u00a0GB" if value < 999.5 else f"{value:,.0f}\u00a0GB"


def count(value: float) -> str:
    """`7.2 B`, `135 M`, `738 k`, `27,040`."""
    return rate(value) if value < 999_500_000 else f"{value / 1e9:.3g}\u00a0B"


def money(value: float) -> str:
    """US dollars, `$0.021`, `$12.40`."""
    return f"${value:,.2f}" if value >= 0.1 else f"${value:.2g}"


def rate(value: float) -> str:
    """`1.65 M`, `83.5 k`, `2,615`, `7.31`."""
    if value >= 999_500:
        return f"{value / 1e6:.3g}\u00a0M"
    if value >= 99_950:
        return f"{value / 1e3:.0f}\u00a0k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
