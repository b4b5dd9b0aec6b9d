"""Conversations to rows of tokens, and rows to files."""
