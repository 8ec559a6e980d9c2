"""What is made of the runs of a session."""
