"""Trials and models -> scores -> a report with intervals and figures.

trial_sets     which recordings are compared            trial_table    millions of trials as arrays
enrollments    what the ids of a list stand for         list_speakers  who speaks in a plain list
val_meta       the recordings that training held back   refusals       what must not be
cache          embeddings, never computed twice         embedded       trials with their embeddings
scores         by matrix products, in blocks            measures       what is read off the scores
figure_data    what figures are drawn from              comparing      systems two by two
systems        models as they are evaluated             result         one of them on one trial set
evaluate       the whole of it                          findings       the result, as values
report         its files, of `report_blocks` (words and tables, as a `document`) and `report_values`
pairs          a score a pair                           calibrate      fitted here, used elsewhere
card_pieces, card_measures    what a model card promises, measured
"""
