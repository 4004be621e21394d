"""The layers, one file each: windows and settings in, what was found out. Pure.

A session's calls come as a list in the order they were made, and `at` is the place of the one that is new: it may be
late and stand in the middle. `since_ms`: what was made up to then was forgiven by a resume and does not count.
"""
