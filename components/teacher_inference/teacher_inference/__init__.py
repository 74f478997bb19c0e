"""Asks the teacher every row's question and keeps the answers that pass the task's check."""
