"""Reads schemas/ and writes C, AsyncAPI, OpenAPI and a reference page. Start with ../generate.py."""
