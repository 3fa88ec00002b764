"""Which configurations, what they are worth, which cheap runs come first."""
