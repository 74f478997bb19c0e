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

from teacher_inference.teacher import Answer, TokenLogprobs

NEGLIGIBLE = 1e-3


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


def candidate_logprobs(tokens: Sequence[TokenLogprobs], candidates: Sequence[str]) -> dict[str, float]:
    """log P(candidate), not normalised, along an answer's tokens.

    A candidate that no listed token begins gets the least listed log probability, an upper bound of its own.
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
        floor = max(floor, given + min(logprob for _, logprob in listed))
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
    return {candidate: known.get(candidate, floor) for candidate in candidates}


def matching(text: str, candidates: Sequence[str]) -> list[str]:
    """The candidates that an answer beginning with `text` may be; case counts for single letters only."""
    plain = text.strip()
    if not plain:
        return []
    whole = [candidate for candidate in candidates if same(plain.rstrip(".,;:!)\"'*"), candidate)]
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
