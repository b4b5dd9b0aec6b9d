"""Files of other programs: what they mean, and what they can read of ours."""
