"""Runs once a deploy: makes the table, where it is missing."""

import jobs

jobs.DATA.mkdir(exist_ok=True)
jobs.prepare()
print("prepare: the table of jobs is there")
