"""Settings of the property tests: no time limit for one example, on machines that do other things too."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
