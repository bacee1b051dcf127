"""Enrolled voices: who they are, who is talking, and forgetting them.

recognition      enrol, verify, identify: the store with a verifier
identification   among N people, or nobody; exact search
answers          what it says                      enrolling       what is refused before
store            embeddings, consent, history      people, names   the records
tables           each statement                    database        one SQLite file
"""
