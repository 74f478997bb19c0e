"""Folders in which models come: Hugging Face's own, and MLflow's, as Azure ML's registries mount them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from shared.errors import NotFound
from shared.weights import load_model, load_tokenizer, locate

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("plain"), ["some words to learn", "and some more"])


def test_a_hugging_face_folder_is_read_where_it_lies(plain: Path) -> None:
    assert locate(plain, None) == str(plain)


@pytest.mark.parametrize("top", ["", "mlflow_model_folder"])
@pytest.mark.parametrize(
    ("weights", "tokenizer"), [("data/model", "data/tokenizer"), ("model", "components/tokenizer")]
)
def test_an_mlflow_model_is_read_with_its_tokenizer(
    plain: Path, tmp_path: Path, top: str, weights: str, tokenizer: str
) -> None:
    for file in plain.iterdir():
        place = tmp_path / top / (tokenizer if file.name in TOKENIZER else weights)
        place.mkdir(parents=True, exist_ok=True)
        (place / file.name).write_bytes(file.read_bytes())
    (tmp_path / top / "MLmodel").write_text("flavors: {}\n")
    source = locate(tmp_path, None)
    wanted = load_tokenizer(str(plain)).encode("some words")
    assert load_tokenizer(source).encode("some words") == wanted
    assert load_model(source).num_parameters() == load_model(str(plain)).num_parameters()
    assert locate(tmp_path, None) == source


def test_any_other_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(NotFound, match=r"lack a config\.json"):
        locate(tmp_path, None)
