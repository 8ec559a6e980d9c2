"""The service under test."""
