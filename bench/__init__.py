"""How fastmesh is measured, beside the proxies its users know."""
