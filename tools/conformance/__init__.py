"""Other projects' conformance suites, run direct and through fastmesh: what passes direct must pass through."""
