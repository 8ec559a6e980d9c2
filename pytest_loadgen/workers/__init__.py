"""A load shared among processes and machines."""
