"""Faust agents over the log: admission, control, delivery, projection. Decisions are pure, shells thin."""
