"""What was measured, so that a person would look at it."""
