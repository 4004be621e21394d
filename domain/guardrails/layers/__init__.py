"""The layers, one file each: windows and settings in, findings out.

A session's calls come as a list in the order they were made, and `at` is the index of the new call: it may be
late and stand in the middle. `since_ms`: what was made up to then was forgiven by a resume and does not count.
"""
