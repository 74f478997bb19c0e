"""Distil a large language model into a small one, on Azure Machine Learning or on this machine.

from azure_distill import DistillClient, DistillationJob
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure_distill.client import DistillClient
    from azure_distill.spec.job import DistillationJob

__version__ = "0.1.0"
__all__ = ["DistillClient", "DistillationJob", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the public classes on first use: `azure-distill --help` needs neither."""
    if name == "DistillClient":
        from azure_distill.client import DistillClient

        return DistillClient
    if name == "DistillationJob":
        from azure_distill.spec.job import DistillationJob

        return DistillationJob
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
