"""Ship components, environments and example jobs inside the wheel, without caches and fetched data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("components", "environments", "jobs")
SKIPPED = ("__pycache__", "bbc_topics", "customer_support")


class ShipFolders(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the folders beside the package to a wheel; an editable installation reads them where they are."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "standard":
            return
        root = Path(self.root)
        for folder in FOLDERS:
            for path in sorted((root / folder).rglob("*")):
                place = path.relative_to(root)
                if path.is_file() and not any(part in SKIPPED for part in place.parts):
                    build_data["force_include"][str(path)] = f"azure_distill/{place}"
