"""Trials and models -> scores -> a report with intervals and figures.

trial_sets     which recordings are compared            trial_table   millions of trials as arrays
cache          embeddings, never computed twice         embedded      both put together
scores         by matrix products, in blocks            measures      what is read off the scores
evaluate       the whole of it                          findings      the result, as values
report         how it is written, with `document`       refusals      what must not be
pairs          a score a pair                           calibrate     fitted here, used elsewhere
card_pieces, card_measures    what a model card promises, measured
"""
