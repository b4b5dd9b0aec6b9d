"""Plan before you pay: what a run takes, from its data, its settings and the shape of its model alone."""
