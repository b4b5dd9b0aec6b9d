"""Asking models behind endpoints: nothing twice, not too fast, not too dear, and an account of failures."""
