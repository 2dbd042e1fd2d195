"""The local HTTP port: what the process is doing, for probes, scrapers and people."""
