"""Figures and settings for MLflow: on Azure ML the workspace's own, elsewhere where MLFLOW_TRACKING_URI says.

That may be a folder on this machine (`file:///…`).  Without an address, or without MLflow, nothing is sent; a server
that fails costs one warning, never the work.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

ADDRESS = "MLFLOW_TRACKING_URI"
MANNERS = {  # the work shall not wait, and nobody else is told of it
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
LONGEST = 500  # characters of a setting, in any MLflow


class Tracker:
    """The MLflow run of MLFLOW_RUN_ID where there is one, else a new one; ends with the block."""

    def __init__(self) -> None:
        self._mlflow: Any = None

    def __enter__(self) -> Tracker:
        address = os.environ.get(ADDRESS, "")
        if not address:
            return self
        for name, value in MANNERS.items():
            os.environ.setdefault(name, value)
        if "://" not in address or address.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            import mlflow
        except ImportError:
            return self
        self._mlflow = mlflow
        self._try(lambda: mlflow.start_run())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mlflow:
            self._try(lambda: self._mlflow.end_run("FAILED" if kind else "FINISHED"))

    def figures(self, values: Mapping[str, float | None], step: int | None = None) -> None:
        """Numbers, as of a step of the work where there are several; those unknown are left out."""
        known = {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
        if self._mlflow and known:
            self._try(lambda: self._mlflow.log_metrics(known, step=step))

    def settings(self, values: Mapping[str, Any]) -> None:
        """What the work was asked to do."""
        known = {name: str(value)[:LONGEST] for name, value in values.items() if value is not None}
        if self._mlflow and known:
            self._try(lambda: self._mlflow.log_params(known))

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:
            self._mlflow = None
            print(f"the figures could not be sent to MLflow: {type(error).__name__}", flush=True)
