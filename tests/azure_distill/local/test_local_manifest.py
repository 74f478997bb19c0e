from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_distill.local.files import read_json, tail, try_lock, write_json
from azure_distill.local.manifest import LinkFound, Manifest, file_hash, take

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 100
)
TREES = st.dictionaries(st.tuples(NAMES.map(lambda n: f"d{n}"), NAMES.map(lambda n: f"f{n}")), st.binary(max_size=20))


def grow(root: Path, tree: dict[tuple[str, str], bytes]) -> Path:
    for (folder, name), data in tree.items():
        (root / folder).mkdir(exist_ok=True, parents=True)
        (root / folder / name).write_bytes(data)
    root.mkdir(exist_ok=True)
    return root


@given(TREES)
def test_the_same_content_has_the_same_hash_and_a_link_is_the_same_content(tree: dict[tuple[str, str], bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = grow(Path(scratch) / "a", tree)
        manifest = take(root, file_hash)
        assert Manifest.from_json(manifest.to_json()) == manifest
        assert manifest.empty == (not tree)
        twin = grow(Path(scratch) / "b", dict(reversed(tree.items())))
        assert take(twin, file_hash).hash == manifest.hash
        manifest.link(root, Path(scratch) / "c")
        assert manifest.stands(root)
        if tree:
            assert take(Path(scratch) / "c", file_hash).hash == manifest.hash
            victim = next(path for path in sorted(root.rglob("*")) if path.is_file())
            victim.write_bytes(victim.read_bytes() + b"x")
            assert not manifest.stands(root)
            assert take(root, file_hash).hash != manifest.hash


def test_a_moved_file_is_another_content(tmp_path: Path) -> None:
    grow(tmp_path, {("d", "f"): b"1"})
    before = take(tmp_path, file_hash)
    (tmp_path / "d" / "f").rename(tmp_path / "d" / "g")
    assert take(tmp_path, file_hash).hash != before.hash
    assert not before.stands(tmp_path)


def test_links_are_followed_in_inputs_and_found_in_outputs(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    grow(blobs, {("d", "f"): b"1"})
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "weights").symlink_to(blobs / "d" / "f")
    (snapshot / "circle").symlink_to(snapshot)
    assert [entry.path for entry in take(snapshot, file_hash).entries] == ["weights"]
    with pytest.raises(LinkFound):
        take(snapshot, file_hash, links=False)


def test_a_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first line\nsecond\xff\n10%\r99%\r\nlast")
    assert tail(path) == ["first line", "second�", "99%", "last"]
    assert tail(path, size=14) == ["99%", "last"]
    assert tail(tmp_path / "gone") == []


def test_json_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert read_json(path) is None
    write_json(path, {"name": os.fsdecode(b"\xff")})
    assert read_json(path) == {"name": os.fsdecode(b"\xff")}
    path.write_text("{")
    assert read_json(path) is None


def test_a_lock_is_held_until_it_is_closed(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    assert try_lock(tmp_path / "lock", shared=True) is None
    os.close(first)
    readers = [try_lock(tmp_path / "lock", shared=True) for _ in range(2)]
    assert None not in readers
    for reader in readers:
        os.close(reader or 0)
