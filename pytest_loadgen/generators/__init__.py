"""The load generators, one file each."""
