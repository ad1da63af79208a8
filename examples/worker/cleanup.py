"""Runs once a day: forgets the jobs that were done more than a week ago."""

import time

import jobs

WEEK = 7 * 24 * 60 * 60

print(f"cleanup: {jobs.delete_done_before(time.time() - WEEK)} old jobs deleted")
