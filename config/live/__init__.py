"""The live process: it holds the waiting connections of agents and pages, and tells them news.

`doors` speaks HTTP, `streams` is one open answer, `hub` knows who waits for what and wakes them,
`audience` decides who may hear of an Event, `reader` reads Events from the database.
"""
