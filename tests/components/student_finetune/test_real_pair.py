"""Each method brings a student nearer to its teacher on held-out prompts than the teacher's text alone does.

The pair is real: SmolLM2-135M goes on with the beginnings of sentences out of letters to a shop, and two of its thirty
layers, as `keep_layers` takes them over, learn to do the same.  `test_methods_learn` asks more, of a made-up language.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from smollm2 import SMOLLM2

from shared.tasks import load_task
from shared.weights import load_model, load_tokenizer, locate
from student_finetune.align import Aligner, Listed
from student_finetune.data import Example
from student_finetune.hosted import HostedTeacher
from student_finetune.losses import DIVERGENCES, label_kl
from student_finetune.settings import Hyperparameters
from student_finetune.signals import LabelProbabilities, ListedTokens, Objective, Signal, WholeDistribution
from student_finetune.students import from_weights
from student_finetune.train import train

LETTERS = Path(__file__).parents[3] / "jobs" / "data" / "classification"
ROWS = 32  # learnt from, and as many held out
WORDS = 2  # tokens of an answer
CHOSEN = Hyperparameters(learning_rate=1e-3, batch_size=16, num_epochs=6, keep_layers=2, trained_layers=2)


@dataclass
class Answered:
    """Prompts, and what the teacher said to them: tokens [rows, words], log probabilities [rows, words, vocabulary]."""

    prompts: list[list[int]]
    tokens: torch.Tensor
    logprobs: torch.Tensor


def beginnings(split: str) -> list[str]:
    """The first five words of each sentence, once each."""
    letters = [json.loads(line)["messages"][0]["content"] for line in (LETTERS / f"{split}.jsonl").open()]
    sentences = [sentence for letter in letters for sentence in letter.split(". ")]
    return list(dict.fromkeys(" ".join(sentence.split()[:5]) for sentence in sentences))


class Pair:
    """A teacher, its answers at temperature 1, and students that learn from them."""

    def __init__(self) -> None:
        self.source = locate(None, SMOLLM2)
        self.tokenizer: Any = load_tokenizer(self.source)
        self.teacher: Any = load_model(self.source, torch.float32)
        self.untaught = from_weights(self.source, CHOSEN)
        known = beginnings("training_data")[:ROWS]
        torch.manual_seed(0)
        self.learnt = self.answered(self.tokenizer(known).input_ids)
        unknown = [text for text in beginnings("test_data") if text not in known][:ROWS]
        self.held_out = self.answered(self.tokenizer(unknown).input_ids)
        likeliest = self.learnt.logprobs[:, 0].exp().mean(0).topk(4).indices
        self.labels = tuple((int(token),) for token in likeliest)

    def logits(self, model: Any, prompts: list[list[int]], tokens: torch.Tensor) -> torch.Tensor:
        """What predicts the tokens after each prompt, and the one after those."""
        width = max(map(len, prompts))
        padded = torch.tensor([[0] * (width - len(ids)) + ids for ids in prompts])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * (len(ids) + tokens.shape[1]) for ids in prompts])
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        inputs = {"input_ids": torch.cat([padded, tokens], 1), "attention_mask": mask, "position_ids": places}
        with torch.no_grad():
            found: torch.Tensor = model(**inputs, logits_to_keep=tokens.shape[1] + 1).logits
        return found

    def answered(self, prompts: list[list[int]]) -> Answered:
        tokens = torch.empty(len(prompts), 0, dtype=torch.long)
        for _ in range(WORDS):
            logprobs = self.logits(self.teacher, prompts, tokens).log_softmax(-1)
            tokens = torch.cat([tokens, logprobs[:, -1].exp().multinomial(1)], 1)
        return Answered(prompts, tokens, logprobs)

    def example(self, number: int) -> Example:
        """A row with all that a method may want of it."""
        said, prompt = self.learnt.logprobs[number], self.learnt.prompts[number]
        top = said.topk(20)
        listed = Listed(top.indices.numpy().astype(np.int32), top.values.numpy())
        labels = tuple(float(said[0, ids[0]]) for ids in self.labels)
        answer = self.learnt.tokens[number].tolist()
        return Example(prompt, answer, self.labels, labels, listed, tuple(prompt), number)

    def signal(self, method: str) -> Signal:
        if method == "label_logits":
            return LabelProbabilities(self.tokenizer, 1.0)
        if method == "top":
            return ListedTokens(Aligner(self.tokenizer))
        task = load_task('{"type": "conversation"}')
        return WholeDistribution(HostedTeacher(self.teacher, self.tokenizer, self.tokenizer, task), method, 1.0)

    def student(self, method: str) -> dict[str, float]:
        """By each measure, how far from the teacher a student is that has learnt by the method."""
        objective = Objective()
        if method != "response":
            signal = self.signal(method)
            objective = Objective((signal,), {"response": 0.3, signal.name: 0.7}, ramp=0.5)
        rows = [self.example(number) for number in range(ROWS)]
        if method != "label_logits":
            rows = [replace(row, candidates=(), teacher=()) for row in rows]
        student = replace(self.untaught, model=deepcopy(self.untaught.model))
        train(student, rows, objective, CHOSEN, None, Path("unused"))
        return self.differences(student.model)

    def differences(self, model: Any) -> dict[str, float]:
        theirs = self.held_out.logprobs
        own = self.logits(model, self.held_out.prompts, self.held_out.tokens)[:, :-1]
        found = {
            name: float(differ(own.flatten(0, 1), theirs.flatten(0, 1), 1.0).mean())
            for name, differ in DIVERGENCES.items()
        }
        first = [token for (token,) in self.labels]
        found["label_logits"] = float(label_kl(own[:, 0, first], theirs[:, 0, first], 1.0)) / len(own)
        return found


def test_probabilities_teach_more_than_the_text() -> None:
    pair = Pair()
    text = pair.student("response")
    measures = {"label_logits": "label_logits", "top": "forward_kl", **{kind: kind for kind in DIVERGENCES}}
    left = {method: pair.student(method)[measure] / text[measure] for method, measure in measures.items()}
    assert max(left.values()) < 1, left
