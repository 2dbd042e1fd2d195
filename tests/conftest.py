"""What every test below has: nothing yet but a clear failure when a tool of the outside tests is missing."""
