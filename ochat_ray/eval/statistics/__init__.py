"""Figures from judgments, and how sure they are."""
