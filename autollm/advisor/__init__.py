"""From a user's own logs to the next expensive run.

    recommend.py   asked and answered; front.py: the same in Python
    evidence/      logs in: one source's runs as an outcome table
    asking/        what is asked: a target that nobody ran, as a TaskView
    statistics/    what experiments could have reached; laws of knobs, of loss
    deciding/      which configurations, backtested on the user's own history
    answering/     the answer put together, its doubts, what it hangs on
    showing/       screen, page, files of other tools; answer.py: the answer's shape
    kept/          saved advice and what came of it
    doors/         MCP, Optuna; judged/: how good the advice is

Importing this package loads none of them.
"""
