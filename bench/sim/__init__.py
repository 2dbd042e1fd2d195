"""Balancers in simulated time."""
