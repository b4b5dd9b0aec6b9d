"""Cases of clients that others wrote; they run in environments of their own, see `bench clients`."""
