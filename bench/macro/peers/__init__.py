"""One small module for each peer: NAME, PROTOCOLS, BALANCERS, version(), launch(setup)."""
