"""How one endpoint wants to be asked, learnt from its refusals: they cost nothing, and the first answer is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from teacher_inference.apis import Api, Constraint
from teacher_inference.outcome import ServerError
from teacher_inference.teacher import Question

DRAWN = ("seed", "top_p", "temperature")
WRAPPING = ("json_schema", "output_config")  # constraints by which a label comes inside a JSON object
FIELDS: Mapping[Constraint, tuple[str, ...]] = {
    "json_schema": ("response_format", "json_schema", "schema"),
    "output_config": ("output_config", "schema"),
    "structured_outputs": ("structured_outputs",),
    "guided": ("guided_choice", "guided_json", "guided"),
    "grammar": ("grammar", "json_schema"),
}
OTHER_REASONS = re.compile(r"too large|maximum.*tokens", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """What is sent to this endpoint.  No part of a request's key: it changes how a question is put, not which."""

    top_logprobs: int
    constraint: Constraint | None
    max_tokens_field: str = "max_tokens"
    left_out: frozenset[str] = frozenset()

    @staticmethod
    def of(api: Api, max_tokens_field: str, constrain: bool) -> Dialect:
        constraint = api.constraints[0] if constrain and api.constraints else None
        return Dialect(api.top_logprobs[0] if api.top_logprobs else 0, constraint, max_tokens_field)

    def constrained(self, question: Question) -> dict[str, Any]:
        """The part of a request that holds the answer to its form; empty where it is free or cannot be held."""
        if not (question.candidates or question.reasoned) or self.constraint is None:
            return {}
        choice, schema = list(question.candidates), answer_schema(question)
        match self.constraint:
            case "json_schema":
                strict = {"name": "answer", "strict": True, "schema": schema}
                return {"response_format": {"type": "json_schema", "json_schema": strict}}
            case "output_config":
                return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
            case "structured_outputs":
                return {"structured_outputs": {"choice": choice} if question.direct else {"json": schema}}
            case "guided":
                return {"guided_choice": choice} if question.direct else {"guided_json": schema}
            case "grammar":
                return {"grammar": grammar(choice)} if question.direct else {"json_schema": schema}

    def after(self, error: ServerError, sent: Mapping[str, Any], api: Api, unanswered: bool) -> Dialect | None:
        """The dialect to try after a refusal of `sent`; None when the refusal was of something else.

        While the endpoint has answered nothing at all, a refusal without a name is taken for one of what few
        endpoints know.
        """
        said = f"{error.param} {error.message}"
        if "max_tokens" in sent and "max_completion_tokens" in said:
            return replace(self, max_tokens_field="max_completion_tokens")
        if "top_logprobs" in sent and "logprobs" in said:
            return self._fewer_logprobs(api, error)
        if self._holds(sent) and any(name in said for name in FIELDS[self.constraint or "json_schema"]):
            return self._other_constraint(api)
        for name in DRAWN:
            if name in sent and re.search(rf"\b{name}\b", said):
                return replace(self, left_out=self.left_out | {name})
        other = error.too_long or OTHER_REASONS.search(said)
        if not unanswered or error.status not in (400, 422) or other:
            return None
        if self._holds(sent):
            return replace(self, constraint=None)
        return replace(self, top_logprobs=0) if "top_logprobs" in sent else None

    def told(self, before: Dialect) -> str:
        """What has changed since `before`, for the user."""
        if self.max_tokens_field != before.max_tokens_field:
            return f"{self.max_tokens_field} is sent instead of {before.max_tokens_field}"
        if self.top_logprobs != before.top_logprobs:
            return f"top_logprobs {before.top_logprobs} refused, {self.top_logprobs or 'none'} asked for"
        if self.constraint != before.constraint:
            return f"{before.constraint} refused, {self.constraint or 'answers are not held to a form'}"
        return f"{', '.join(sorted(self.left_out - before.left_out))} refused and left out"

    def _holds(self, sent: Mapping[str, Any]) -> bool:
        return self.constraint is not None and any(name in sent for name in FIELDS[self.constraint])

    def _fewer_logprobs(self, api: Api, error: ServerError) -> Dialect:
        """None at all, unless the refusal names a number."""
        counted = re.search(r"\d", error.message)
        later = [count for count in api.top_logprobs if counted and count < self.top_logprobs]
        return replace(self, top_logprobs=later[0] if later else 0)

    def _other_constraint(self, api: Api) -> Dialect:
        later = api.constraints[api.constraints.index(self.constraint) + 1 :] if self.constraint else ()
        return replace(self, constraint=later[0] if later else None)


def answer_schema(question: Question) -> dict[str, Any]:
    """The JSON schema of an answer: `{"answer": …}`, with `reason` before it where it is reasoned."""
    answer: dict[str, Any] = {"type": "string"}
    if question.candidates:
        answer["enum"] = list(question.candidates)
    properties = {"reason": {"type": "string"}, "answer": answer} if question.reasoned else {"answer": answer}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def grammar(choice: list[str]) -> str:
    """The choice as a GBNF grammar (llama.cpp)."""
    quoted = (
        '"' + label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'
        for label in choice
    )
    return "root ::= " + " | ".join(quoted)
