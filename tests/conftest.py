"""For all tests: hypothesis has no deadline, for how long an example takes says more of the machine than of the code."""

from hypothesis import settings

settings.register_profile("rejoinder", deadline=None)
settings.load_profile("rejoinder")
