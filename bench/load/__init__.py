"""Clients and origins of the benchmark."""
