"""What the workers do, stage by stage: tables of what to do in, counts of what was done out.

Everything is written whole in one step and depends on nothing but its input: doing it again, after a
crash or at the same time, changes nothing.
"""
