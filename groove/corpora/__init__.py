"""Corpora: what each is, how it lies on disk, its licence; a module each. They never train."""
