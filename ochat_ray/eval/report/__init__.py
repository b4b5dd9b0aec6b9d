"""What judges said, as figures (`eval.json`) and as a page (`eval.html`)."""
