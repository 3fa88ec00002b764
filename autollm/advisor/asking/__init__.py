"""A question: the target, what must be kept, candidates, in the user's own names."""
