"""Where people already work: each door gives the advisor's answers in another's shape.

A door needs an extra of its own and is imported only by who walks through it.
"""
