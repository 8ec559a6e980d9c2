"""Lending this machine's load generators to others."""
