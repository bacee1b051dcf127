"""A corpus on disk -> the lists that training and evaluation read.

    corpus files
      --> probing    how long is each, is it whole      (parallel; journal: probed.jsonl)
      --> splitting  which speakers are for validation  (by seed, speaker-disjoint)
      --> joining    short ones within speaker, genre   (training only; no audio is written)
      --> lists      train.jsonl, val.jsonl, spk2id.json and the rest; prepared.json last

Every step is a function of the files, the seed and the options: the order in which a file
system lists things decides nothing. The work can be killed at any moment; the same command goes on
from there. Lists are written aside and renamed, all of them together at the end; ``prepared.json``
is removed before the first and written after the last, with the SHA-256 of each, so a folder that
has it is whole. Stored features are made by `groove.training.storing`, from the same plan.
"""

from groove.preparation.lists import check_list, check_prepared, write_lists_of
from groove.preparation.plan import Options, Plan, plan_corpus
from groove.preparation.report import Report, report_of

__all__ = [
    "Options",
    "Plan",
    "Report",
    "check_list",
    "check_prepared",
    "plan_corpus",
    "report_of",
    "write_lists_of",
]
