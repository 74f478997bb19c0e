"""Trains a student on answers and, where the rows have them, on a teacher's label probabilities."""
