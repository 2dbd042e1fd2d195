"""What the process says about itself: Prometheus text, the access log and the process log."""
