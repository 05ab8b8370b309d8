"""Soak: a voice agent's life for days and weeks, and all that must stay bounded meanwhile.

    python -m tests.soak --help

Rule: whatever is sent is in the books, to the sample: heard, cut, late or refused; and what memory
grows by after the warm-up is a figure with a bound. A broken bound is exit code 1.
"""
