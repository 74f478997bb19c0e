"""The emulated Azure, for the tests of itself."""

from __future__ import annotations

from tests.emulator.fixture import azure, azure_server

__all__ = ["azure", "azure_server"]
