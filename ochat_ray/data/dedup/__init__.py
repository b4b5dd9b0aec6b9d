"""Copies and near-copies: which conversations stand for which."""
