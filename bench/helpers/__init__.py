"""Processes of the harness itself. Each answers a line of JSON on stdin with a line of JSON on stdout."""
