"""How a load is run."""
