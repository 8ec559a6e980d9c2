"""A server that offers this machine's load generators over gRPC."""
