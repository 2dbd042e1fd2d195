module fastmesh/conformance/nethttp

go 1.24
