"""What a source says, to a clean conversation: turns repaired, answers as Markdown."""
