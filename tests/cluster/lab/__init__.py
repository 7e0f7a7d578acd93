"""The fault laboratory: real nodes and engines, faults between them, a load that records everything, and a checker of the record.

`record` says what is written down, `checker` and `figures` read it (both pure), `proxy` breaks links, `wire` and `load` are
the clients (a process of their own), `cluster` holds nodes, engines and links, `scenarios` are the faults, `runner` joins
them, `report` draws. `python -m tests.cluster.lab` runs all of it (`make faults`).
"""
