"""The read model's speed: `python -m bench.read_model [part …]`. A part a figure of the issue, each for itself:

- projection: the process `python -m processors projection` catches up with a log of events with an attempt each, beside
  a bare sqlite3 and a bare psycopg that only put the same rows, decoded before, into tables with keys;
- rebuild: `atlas rebuild` on the same log;
- reads: by id, a page of 100, a page by type and time, of 5 million events that were put there in bulk;
- visible: from the 202 to being there for readers, through the real gateway at a steady rate.
"""
