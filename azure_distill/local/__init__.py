"""The backend on this machine: processes, step cache, run store, model registry."""
