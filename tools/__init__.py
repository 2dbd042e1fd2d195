"""What a developer and CI run beside the tests."""
