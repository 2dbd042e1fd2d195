"""fastmesh: a service-mesh sidecar proxy; Python decides, compiled Cython moves the bytes."""

__version__ = "0.1.0"
