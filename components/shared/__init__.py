"""What two or more components need: rows, tasks, models, progress and the errors of a component."""
