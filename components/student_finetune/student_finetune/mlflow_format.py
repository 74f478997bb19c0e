"""What makes a Hugging Face folder an MLflow model as well: MLmodel, what it needs to run, the tokenizer once more.

The flavour is MLflow's own for transformers, asked as `llm/v1/chat`: `mlflow.pyfunc.load_model(folder).predict(
{"messages": […]})` applies the chat template.  The weights stay where they are (`model_binary: .`).
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MLFLOW = "mlflow>=2.20,<4"  # need not be installed where a model is trained
PACKAGES = ("accelerate", "torch", "transformers")
CHAT = "llm/v1/chat"
TEXT, NUMBER, WHOLE = ({"type": kind} for kind in ("string", "double", "long"))
MESSAGE = {"type": "object", "properties": {key: {**TEXT, "required": True} for key in ("role", "content")}}
INPUTS = [
    {"name": "messages", "type": "array", "items": MESSAGE, "required": True},
    {"name": "temperature", **NUMBER, "required": False},
    {"name": "top_p", **NUMBER, "required": False},
    {"name": "max_tokens", **WHOLE, "required": False},
    {"name": "stop", "type": "array", "items": TEXT, "required": False},
]


def write_mlflow(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Add the MLflow files to a folder that holds the saved model; the same model gives the same bytes."""
    tokenizer.save_pretrained(folder / "components" / "tokenizer")  # where the flavour looks for it
    requirements = [MLFLOW, *(f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES)]
    python = platform.python_version()
    conda = {"channels": ["conda-forge"], "dependencies": [f"python={python}", "pip", {"pip": requirements}]}
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
    for name, value in (
        ("MLmodel", _mlmodel(model, python)),
        ("conda.yaml", {"name": "mlflow-env", **conda}),
        ("python_env.yaml", environment),
    ):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")  # JSON is YAML


def _mlmodel(model: PreTrainedModel, python: str) -> dict[str, Any]:
    return {
        "flavors": {
            "python_function": {
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.transformers",
                "python_version": python,
            },
            "transformers": {
                "code": None,
                "components": ["tokenizer"],
                "inference_task": CHAT,
                "instance_type": "TextGenerationPipeline",
                "model_binary": ".",
                "pipeline_model_type": type(model).__name__,
                "source_model_name": "student",
                "task": "text-generation",
                "tokenizer_type": "AutoTokenizer",
                "torch_dtype": str(model.dtype),
                "transformers_version": version("transformers"),
            },
        },
        "metadata": {"task": CHAT},
        "signature": {"inputs": json.dumps(INPUTS), "outputs": None, "params": None},
    }
