"""From a user's own logs to the next expensive run.

    reading.py       logs in: the mapping that reads them, known or proposed
    evidence.py      one source's runs as an outcome table
    marts.py         the dbt models' SQL, run in memory
    question.py      what is asked: a target that nobody ran, as a TaskView
    response.py      what each experiment could have reached, and where
    laws.py          how optima move with scale; loss_law.py: what the target can reach
    decide.py        which configurations, backtested on the user's own history
    recommend.py     asked and answered; composed.py: the answer put together
    answer.py        the shape of the answer

Importing this package loads none of them.
"""
