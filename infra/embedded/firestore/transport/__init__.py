"""Carries calls from clients to handlers: gRPC servers, and the relay from the TCP port of a stack."""
