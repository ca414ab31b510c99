"""
Progress of a job that calls back, in the three ways in which operators run.
"""

import queue
import threading
import time
from concurrent.futures import Future

import fiftyone.operators.types as types

from .forms import alert
from .jobs import JobStopped, run_alone

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


def go_on_in_background(ctx, job):
    """Runs a job in a thread of its own and shows where a person can follow and stop it.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        job: see :func:`follow`; its :func:`stoppable` part keeps what comes of it

    Yields:
        messages
    """
    run_alone(lambda: job(lambda report: None))
    yield ctx.ops.open_panel("region_search", layout="horizontal")
    message = "Working in the background: “Region search” shows how far it is"
    yield ctx.ops.notify(message, variant="info")


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
    except JobStopped as stop:
        yield _message(ctx, "info", "Stopped", str(stop))
        raise
    except Exception as error:
        yield _message(ctx, "error", "It did not work", str(error) or type(error).__name__)
        raise


def _message(ctx, severity, label, description):
    outputs = types.Object()
    outputs.view(severity, alert(severity, label, description))
    return ctx.ops.show_output(types.Property(outputs).to_json(), {})


def _run(job, reports, outcome):
    try:
        outcome.set_result(job(reports.put))
    except BaseException as error:
        outcome.set_exception(error)
    finally:
        reports.put(None)
