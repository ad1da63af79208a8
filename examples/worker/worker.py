"""Does one job after the other, and leaves a sign of life. On SIGTERM it finishes its job first.

A job that a crash or a power cut interrupts is done again.
"""

import signal
from threading import Event

import jobs

PAUSE = 1


def main():
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    print("worker: waiting for jobs", flush=True)
    while not stopping.is_set():
        jobs.beat()
        job = jobs.next_waiting()
        if job:
            jobs.finish(job["id"], outcome(job["text"]))
            print(f"worker: job {job['id']} is done", flush=True)
        else:
            stopping.wait(PAUSE)
    print("worker: stopped", flush=True)


def outcome(text):
    try:
        return work(text)
    except Exception as error:  # or one bad job would stop all that wait behind it
        return f"failed: {error}"


def work(text):
    """Stands for something slow: a mail, a picture, a report."""
    return f"{len(text.split())} words"


if __name__ == "__main__":
    main()
