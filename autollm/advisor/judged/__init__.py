"""Is the advice any good? Experiments that were run are hidden and asked about.

    sources.py     recorded sources as tables: public ones, and the lab's archives
    questions.py   which experiments are hidden, and what a seed shows of the rest
    one_question.py  `recommend` and every policy on one question
    answers.py     those of all questions; records.py: as they come, so that work goes on
    inference.py   means and intervals with the source as the unit
    calibration.py intervals and probabilities against what came
    future.py      the loss law on every more expensive experiment
    rewriting.py   evidence as other people's files; reading.py: the same advice from them
    spending.py    does the plan pay: half of the cheap experiments hidden, and bought
    results.py     regrets and intervals as numbers; summaries.py: the rest
    results_markdown.py  both as the tables of docs/results.md

Importing this package loads none of them.
"""
