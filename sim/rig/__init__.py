"""A bench for tests: clouds, devices and packages with a face that a test can read and write."""
