"""Label probabilities out of a teacher's token log probabilities.

An endpoint lists, for each token of its answer, the likeliest alternatives.  A label's probability is that of the
answer going its way: the sum over all tokens that only this label can begin with (" politics", "politics" and "Pol"
of "Politics").  Where the chosen token leaves several labels open ("not" of "not sure" and "not entailed") the next
token decides between them; where another listed token does, the row's probabilities are unknown.

A token that begins exactly one label counts wholly for it, though the answer might have gone on differently ("pol" as
in "police"): with the instruction to answer by a label alone that share is small, but it is not zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from teacher_inference.teacher import Answer, TokenLogprobs

NEGLIGIBLE = 1e-3
ROUNDING = 1e-6  # by which listed probabilities may miss their sum
MOST_UNKNOWN = 0.25  # of what the known candidates have together, that the others may have
ENDS = 2  # end-of-turn tokens that some endpoints list, too


class Unknown(Exception):
    """A row's label probabilities cannot be had; the message says why."""


def answer_probabilities(answer: Answer, label: str, candidates: Sequence[str]) -> dict[str, float]:
    """log P over the candidates, normalised; raises Unknown where it is not known or contradicts `label`."""
    if answer.label_logprobs is not None:
        found: Mapping[str, float] = answer.label_logprobs
    elif answer.top_logprobs and all(listed for _, listed in answer.top_logprobs):
        found = candidate_logprobs(answer.top_logprobs, candidates)
    else:
        raise Unknown("none given")
    normal = normalised(found)
    if max(normal, key=lambda candidate: normal[candidate]) != label:
        raise Unknown("another label is likelier than the answer")
    return normal


def answer_tokens(answer: Answer, text: str) -> list[dict[str, Any]]:
    """The log probabilities of the tokens of `text`, which is all of the answer but blanks around it.

    A list of `{"token", "logprob", "bytes"?, "top": [[token, logprob], …]}`; the chosen token is among the `top`.
    `bytes` is there where the text of a token does not show them.  Raises Unknown where there are none, or where the
    answer was only a part of what was said.
    """
    if not answer.top_logprobs:
        raise Unknown("none given")
    odd = {int(index): bytes(found) for index, found in (answer.token_bytes or {}).items()}
    spelt = [odd.get(index, token.encode()) for index, (token, _) in enumerate(answer.top_logprobs)]
    first = next((index for index, token in enumerate(spelt) if token.strip()), 0)
    for end in range(len(spelt), max(first, len(spelt) - 1 - ENDS), -1):
        if b"".join(spelt[first:end]).decode(errors="replace").strip() == text:
            return [_token(*answer.top_logprobs[index], odd.get(index)) for index in range(first, end)]
    raise Unknown("the answer is not what the tokens say")


def _token(token: str, listed: Sequence[tuple[str, float]], odd: bytes | None) -> dict[str, Any]:
    found: dict[str, Any] = {"token": token, "logprob": dict(listed).get(token, 0.0)}
    return found | ({"bytes": list(odd)} if odd else {}) | {"top": [list(pair) for pair in listed]}


def candidate_logprobs(tokens: Sequence[TokenLogprobs], candidates: Sequence[str]) -> dict[str, float]:
    """log P(candidate), not normalised, along an answer's tokens.

    A candidate that no listed token begins gets an upper bound of its own.  Raises Unknown where such bounds are so
    large that they would make the distribution.
    """
    found: dict[str, list[float]] = {candidate: [] for candidate in candidates}
    path, given, floor, unclear = "", 0.0, -math.inf, 0.0
    for chosen, listed in tokens:
        followed: float | None = None
        for token, logprob in listed:
            fits = matching(path + token, candidates)
            if len(fits) == 1:
                found[fits[0]].append(given + logprob)
            elif token == chosen and (fits or not (path + token).strip()):
                followed = given + logprob
            elif fits:
                unclear += math.exp(given + logprob)
        floor = max(floor, given + _unlisted([logprob for _, logprob in listed]))
        path += chosen
        if followed is None:
            break
        given = followed
    decided = matching(path, candidates)
    if not decided:
        raise Unknown("the answer does not begin with a label")
    known = {candidate: logsumexp(parts) for candidate, parts in found.items() if parts}
    if len(decided) > 1 or unclear > NEGLIGIBLE * math.exp(logsumexp(list(known.values()))):
        raise Unknown("labels share their first token")
    unknown = len(candidates) - len(known)
    if unknown and floor + math.log(unknown) > math.log(MOST_UNKNOWN) + logsumexp(list(known.values())):
        raise Unknown("too few tokens are listed")
    return {candidate: known.get(candidate, floor) for candidate in candidates}


def _unlisted(listed: Sequence[float]) -> float:
    """An upper bound of a token's log probability that is not listed: the least of those, and of what they leave."""
    left = 1.0 - sum(map(math.exp, listed))
    return min(*listed, math.log(max(left, ROUNDING)))


def matching(text: str, candidates: Sequence[str]) -> list[str]:
    """The candidates that an answer beginning with `text` may be; case counts for single letters only."""
    plain = text.strip()
    if not plain:
        return []
    whole = [candidate for candidate in candidates if same(plain.rstrip(".,;:!)}\"'*"), candidate)]
    if whole and not any(begins(plain, candidate) for candidate in candidates if candidate not in whole):
        return whole
    return [candidate for candidate in candidates if begins(plain, candidate)]


def same(text: str, candidate: str) -> bool:
    return text == candidate or (len(candidate) > 1 and text.casefold() == candidate.casefold())


def begins(text: str, candidate: str) -> bool:
    return candidate.startswith(text) or (len(candidate) > 1 and candidate.casefold().startswith(text.casefold()))


def normalised(logprobs: Mapping[str, float]) -> dict[str, float]:
    """The same distribution with probabilities that sum to one."""
    total = logsumexp(list(logprobs.values()))
    return {candidate: logprob - total for candidate, logprob in logprobs.items()}


def logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    return top if top == -math.inf else top + math.log(sum(math.exp(value - top) for value in values))
