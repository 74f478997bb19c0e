from __future__ import annotations

import os
from pathlib import Path

import pytest

from azure_distill.assets.component import Component, load_component
from azure_distill.assets.snapshot import take_snapshot
from azure_distill.errors import InvalidJob


@pytest.fixture
def component(tmp_path: Path) -> Component:
    folder, shared = tmp_path / "probe", tmp_path / "shared"
    for path in (folder / "probe", shared / "deep"):
        path.mkdir(parents=True)
    (folder / "probe" / "main.py").write_text("print(1)\n")
    (shared / "deep" / "rows.py").write_text("rows = 1\n")
    (folder / "component.yaml").write_text(
        "type: command\nname: probe\ncommand: python -m probe\n"
        "code: .\nenvironment: e\nadditional_includes: [../shared]\n"
    )
    return load_component(folder / "component.yaml")


def names(component: Component) -> set[str]:
    return set(take_snapshot(component).files)


def test_code_and_includes_are_one_tree(component: Component) -> None:
    assert names(component) == {"probe/main.py", "shared/deep/rows.py"}


def test_rubbish_never_goes_along(component: Component) -> None:
    before = take_snapshot(component).hash
    for name in ("__pycache__/a.pyc", ".git/config", ".venv/bin/python", "probe/b.pyc", "probe/__pycache__/c"):
        path = component.code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert take_snapshot(component).hash == before


def test_amlignore_goes_before_gitignore_in_every_folder(component: Component) -> None:
    (component.code / "notes.md").write_text("x")
    (component.code / "probe" / "big.bin").write_text("x")
    (component.code / "data").mkdir()
    (component.code / "data" / "rows").write_text("x")
    (component.code / ".gitignore").write_text("*.md\n/data/\n")
    assert names(component) == {"probe/main.py", "probe/big.bin", "shared/deep/rows.py"}
    (component.code / ".amlignore").write_text("*.bin\n!probe/big.bin\n")
    assert {"notes.md", "data/rows", "probe/big.bin"} <= names(component)
    (component.code / "probe" / ".amlignore").write_text("big.*\n")
    assert "probe/big.bin" not in names(component)
    (component.code / ".amlignore").write_text("rows.py\n")
    assert "shared/deep/rows.py" not in names(component)


def test_the_hash_follows_bytes_paths_and_the_executable_bit_only(component: Component) -> None:
    main = component.code / "probe" / "main.py"
    first = take_snapshot(component).hash
    os.utime(main, (1, 1))
    (component.code / "empty").mkdir()
    (component.path).write_text(component.path.read_text() + "description: better\n")
    assert take_snapshot(component).hash == first
    main.chmod(0o755)
    executable = take_snapshot(component).hash
    main.write_text("print(2)\n")
    changed = take_snapshot(component).hash
    main.rename(component.code / "probe" / "other.py")
    assert len({first, executable, changed, take_snapshot(component).hash}) == 4


def test_the_copy_is_the_tree(component: Component, tmp_path: Path) -> None:
    (component.code / "probe" / "main.py").chmod(0o700)
    take_snapshot(component).copy_to(tmp_path / "work")
    assert os.access(tmp_path / "work" / "probe" / "main.py", os.X_OK)
    assert (tmp_path / "work" / "shared" / "deep" / "rows.py").read_text() == "rows = 1\n"


def test_a_file_that_changes_under_way_is_found(component: Component, tmp_path: Path) -> None:
    snapshot = take_snapshot(component)
    (component.code / "probe" / "main.py").write_text("print(3)\n")
    with pytest.raises(InvalidJob, match="changed while it was copied"):
        snapshot.copy_to(tmp_path / "work")


def test_links_stay_inside(component: Component, tmp_path: Path) -> None:
    (component.code / "alias.py").symlink_to("probe/main.py")
    (component.code / "twin").symlink_to("probe")
    assert {"alias.py", "twin/main.py"} <= names(component)
    (component.code / "out").symlink_to(tmp_path / "shared" / "deep" / "rows.py")
    with pytest.raises(InvalidJob, match="leaves"):
        take_snapshot(component)


def test_a_link_in_a_circle_is_refused(component: Component) -> None:
    (component.code / "probe" / "again").symlink_to("..")
    with pytest.raises(InvalidJob, match="holds it"):
        take_snapshot(component)


def test_an_include_may_not_cover_code(component: Component) -> None:
    (component.code / "shared").mkdir()
    (component.code / "shared" / "mine.py").write_text("x")
    with pytest.raises(InvalidJob, match="stands in the code folder too"):
        take_snapshot(component)


def test_what_is_no_file_is_refused(component: Component) -> None:
    os.mkfifo(component.code / "pipe")
    with pytest.raises(InvalidJob, match="neither a file nor a folder"):
        take_snapshot(component)
