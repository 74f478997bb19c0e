"""Tasks answered by free text: conversation, mathematics and summarization."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.tasks.base import Extracted, Rejected, Settings, Task, parse_reasoned


class Conversation(Task):
    """The next reply of a dialogue with any number of turns."""

    name = "conversation"
    metrics = ("accuracy", "bleu_score", "rouge_l", "token_f1", "inference_time")
    headline = "token_f1"
    multi_turn = True


NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?|[-+]?\.\d+")


class Math(Task):
    """A word problem with one final answer; a worked solution ends with `#### answer`."""

    name = "math"
    metrics = ("accuracy", "inference_time")
    instruction = "Solve the problem. End your reply with a line `#### <the final answer>`."

    def normal_answer(self, text: str, candidates: Sequence[str]) -> str:
        if final_answer(text) is None:
            raise Rejected("no final answer")
        return text

    def extract(self, text: str, candidates: Sequence[str] = ()) -> Extracted:
        if not self.settings.chain_of_thought:
            return super().extract(text, candidates)
        rationale, answer = parse_reasoned(text)
        return Extracted(self.normal_answer(answer.strip(), candidates), rationale)

    def learnt(self, extracted: Extracted) -> str:
        """With the reasoning, where it is kept: a worked solution, as the user's own are."""
        if not (self.settings.keep_rationale and extracted.rationale):
            return extracted.answer
        return f"{extracted.rationale.strip()}\n#### {final_answer(extracted.answer)}"

    def is_correct(self, answer: str, reference: str, candidates: Sequence[str] = ()) -> bool:
        given, wanted = final_answer(answer), final_answer(reference)
        if given is None or wanted is None:
            return False
        if given == wanted:
            return True
        left, right = as_number(given), as_number(wanted)
        if left is not None and right is not None:
            return abs(left - right) <= 1e-6 * max(1.0, abs(right))
        return _same_expression(given, wanted)


class Summarization(Task):
    """A shorter text that keeps what matters."""

    name = "summarization"
    metrics = ("rouge_l", "rouge_1", "rouge_2", "bleu_score", "inference_time")
    headline = "rouge_l"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.instruction = f"Summarize the text in at most {settings.max_summary_words} words."

    def reasoning_instruction(self) -> str | None:
        if not self.settings.chain_of_density:
            return super().reasoning_instruction()
        # after "From Sparse to Dense: GPT-4 Summarization with Chain of Density Prompting" (arXiv 2309.04269)
        return (
            "Work in three rounds. Write a summary; find one to three informative entities of the text that it "
            "misses; write a new summary of the same length that keeps every earlier entity and adds the missing "
            f"ones. Each summary has at most {self.settings.max_summary_words} words. Reply with one JSON object and "
            'nothing else: {"reason": "<the entities added in each round>", "answer": "<the last summary>"}'
        )

    def extract(self, text: str, candidates: Sequence[str] = ()) -> Extracted:
        rationale = None
        if self.settings.chain_of_density or self.settings.chain_of_thought:
            rationale, text = parse_reasoned(text)
        words = len(text.split())
        if not words:
            raise Rejected("empty answer")
        # a teacher asked for 80 words that writes 95 has followed the instruction; one that writes 200 has not
        if words > 1.5 * self.settings.max_summary_words:
            raise Rejected("summary longer than one and a half times the words asked for")
        return Extracted(text.strip(), rationale)


def final_answer(text: str) -> str | None:
    """The final answer of a worked solution: after `####`, in `\\boxed{…}`, or else the last number."""
    marked = re.findall(r"####\s*(.+)", text)
    if marked:
        return str(marked[-1]).strip().rstrip(".")
    boxed = text.rfind("\\boxed{")
    if boxed >= 0:
        return _braced(text[boxed + len("\\boxed{") :])
    numbers = NUMBER.findall(text)
    return str(numbers[-1]) if numbers else None


def as_number(text: str) -> float | None:
    """`"$1,200.50"`, `"3/4"`, `"12%"` as a number; None when the text is anything else."""
    plain = text.strip().strip("$€£ ").rstrip("%. ").replace(",", "").replace(" ", "")
    if not re.fullmatch(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:/\d+)?", plain):
        return None
    top, _, bottom = plain.partition("/")
    return None if bottom and not float(bottom) else float(top) / float(bottom or 1)


def _braced(text: str) -> str | None:
    depth = 1
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if not depth:
            return text[:index].strip()
    return None


def _same_expression(given: str, wanted: str) -> bool:
    """Whether two LaTeX or plain expressions are equal (math-verify)."""
    from math_verify import parse, verify

    return bool(verify(parse(f"${wanted}$"), parse(f"${given}$")))
