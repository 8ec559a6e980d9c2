"""What is kept of a session: its runs, and the machine and code that they are of."""
