"""What the old proposal still reads tables with. It goes when logs/proposals takes its
place; nothing else imports from here.
"""
