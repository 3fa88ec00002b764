"""Property-based tests say how many cases they try, not how long one may take: a busy
machine is no failure.
"""

from hypothesis import settings

settings.register_profile("gym", deadline=None)
settings.load_profile("gym")
