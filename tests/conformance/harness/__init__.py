"""The parts of `run`, a file each."""
