"""Doors that other programs and people knock at: the web page (the HTTP service comes later)."""
