"""What a preparation did, for people to look at."""
