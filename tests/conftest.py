"""For all tests. How long an example takes says more of the machine than of the code: hypothesis has no deadline."""

from hypothesis import settings

settings.register_profile("rejoinder", deadline=None)
settings.load_profile("rejoinder")
