"""What a user writes in Python, word for word the same for Azure and for this machine; only the client differs."""

from __future__ import annotations

from typing import Any

from azure_distill import DistillationJob, DistillClient


def distil(client: DistillClient) -> dict[str, Any]:
    """The whole way in the current folder: train, evaluate, compare, register; returns what came of it."""
    job = client.jobs.create_or_update(
        DistillationJob(
            teacher_model="deepseek-v3",
            student_model="phi-4-mini",
            training_data="./training_data.jsonl",
            validation_data="./validation_data.jsonl",
            task_type="conversation",
            hyperparameters={"learning_rate": 2e-5, "batch_size": 2, "num_epochs": 3, "temperature": 0.7},
        )
    )
    first = client.jobs.get(job.name).status
    client.jobs.stream(job.name)
    last = client.jobs.get(job.name).status
    results = client.models.evaluate(
        model_name="phi-4-mini-distilled",
        test_data="./test_data.jsonl",
        metrics=["accuracy", "bleu_score", "inference_time"],
    )
    baseline = client.models.evaluate(model_name="phi-4-mini", test_data="./test_data.jsonl")
    gain = results["accuracy"] - baseline["accuracy"]
    model = client.models.register(job.name, name="phi-4-mini-distilled")
    return {"job": job.name, "first": first, "last": last, "results": results, "gain": gain, "model": model}
