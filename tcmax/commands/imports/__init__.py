"""Results that were not trained here: anybody's predictions or scores as records, so that every analysis works on them.

mapping   what a user says about the files: which column plays which part
runs      files to runs, with every check that a wrong number could slip through
write     runs to PREDICTIONS, ITEM SCORES or SCORES, and an experiment file
"""
