"""
Progress of a job that calls back, in the three ways in which operators run.
"""

import queue
import threading
import time
from concurrent.futures import Future

import fiftyone.operators.types as types

MIN_SECONDS = 0.25


def follow(job, show):
    """Runs a job in a thread and yields its progress, at most a few times a second.

    The job goes on to its end when the App's user closes the page and nobody reads on.

    Args:
        job: a function of one argument, a function that it calls with each report
        show: makes a message to the App of a report

    Yields:
        messages

    Returns:
        what the job returns

    Raises:
        Exception: what the job raises
    """
    reports, outcome = queue.SimpleQueue(), Future()
    threading.Thread(target=_run, args=(job, reports, outcome), daemon=True).start()
    shown_at = float("-inf")
    while (report := reports.get()) is not None:
        if time.monotonic() - shown_at >= MIN_SECONDS:
            yield show(report)
            shown_at = time.monotonic()

    return outcome.result()


def show_errors(ctx, steps):
    """Shows the error that ends an operator in the App, which else would show nothing at all.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        steps: a generator of messages to the App

    Yields:
        the messages

    Raises:
        Exception: again, for callers from Python and for FiftyOne's log
    """
    try:
        yield from steps
    except Exception as error:
        reason = str(error) or type(error).__name__
        outputs = types.Object()
        outputs.view("error", types.Error(label="It did not work", description=reason))
        yield ctx.ops.show_output(types.Property(outputs).to_json(), {})
        raise


def _run(job, reports, outcome):
    try:
        outcome.set_result(job(reports.put))
    except BaseException as error:
        outcome.set_exception(error)
    finally:
        reports.put(None)
