"""What the operators have in common: a form, errors that the App shows, and jobs that take long."""

import queue
import threading
import time
from concurrent.futures import Future

import fiftyone.operators as foo
import fiftyone.operators.types as types

from .forms import alert, read_types
from .grid import reload, state
from .jobs import JobStopped, request_of, run_alone, stoppable

SHOW_SECONDS = 0.25
"""Between two messages of progress: each is drawn by the browser, and a job may report 1,000."""


def show_in_panel(ctx, entry):
    """Opens a search or a finding in “Region search”.

    Args:
        entry: its key in the history

    Yields:
        messages to the App
    """
    yield ctx.ops.open_panel("region_search", layout="horizontal")
    # Of the panel's script, see js/src/server/handover.ts
    yield ctx.trigger("@alphaclip/regions/restore_in_region_search", {"entry": entry})


def configure(name, label, description, icon, **kwargs):
    """Describes an operator. Unless the options say otherwise, its form is made anew when something
    is typed, and it sends messages to the App while it works.

    Args:
        name: which FiftyOne calls it by
        label: for people
        description: what it does, in a few words
        icon: the name of a Material icon, which tabs, menus and lists all draw; of a plugin's
            files some of them draw none
        **kwargs: of the :class:`fiftyone.operators.OperatorConfig`
    """
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        **{"dynamic": True, "execute_as_generator": True, **kwargs},
    )


class FormOperator(foo.Operator):
    """An operator with a form, whose errors the App shows and whose results Python gets."""

    button = None
    """What is on the form's button, where it is not "Execute"."""

    def title(self, ctx):
        """What stands above the form."""
        return self.config.label

    def add_form(self, ctx, inputs):
        """Lays the form out."""
        raise NotImplementedError

    def steps(self, ctx):
        """Does the work.

        Yields:
            messages to the App

        Returns:
            what it found or did, a dict of JSON values
        """
        raise NotImplementedError

    def resolve_input(self, ctx):
        inputs = types.Object()
        self.add_form(ctx, inputs)
        read_types(ctx, inputs)
        button = {"submit_button_label": self.button} if self.button else {}
        return types.Property(inputs, view=types.PromptView(label=self.title(ctx), **button))

    def execute(self, ctx):
        steps = _show_errors(ctx, self.steps(ctx))
        # FiftyOne throws away what a generator returns: only the App, whose requests name the
        # operator, gets one, as it reads the messages while they come.
        is_of_app = "operator_uri" in ctx.request_params and not ctx.delegated
        return steps if is_of_app else _result_of(steps)


class JobOperator(FormOperator):
    """An operator that takes long. In the App it shows its progress, or works in the background
    where its form offers that; delegated, it leaves its progress in the record of the run.

    All three ways run the same job, which everybody who has the dataset open can see and stop.
    """

    begins = "Starting"
    """What the progress says before the first report of the job."""

    results_label = None
    """What stands above the results."""

    offers_background = True

    def describe_job(self, ctx):
        """Says what is worked on.

        Returns:
            the key that no two jobs may work on at a time, and a title
        """
        raise NotImplementedError

    def work(self, ctx, job):
        """Does the work.

        Args:
            job: see :func:`stoppable`

        Returns:
            the results, a dict of JSON values
        """
        raise NotImplementedError

    def lay_out(self, results, outputs):
        """Lays the results out.

        Args:
            outputs: a :class:`fiftyone.operators.types.Object`
        """
        raise NotImplementedError

    def finish(self, ctx, results):
        """Tells the App of the results.

        Yields:
            messages to the App
        """
        yield self.show_results(ctx, results)

    def show_results(self, ctx, results):
        """Makes the message that shows the results in the App."""
        return ctx.ops.show_output(self._outputs(results).to_json(), results)

    def execute(self, ctx):
        if ctx.delegated:
            return self.run(ctx, lambda report: ctx.set_progress(**report))

        return super().execute(ctx)

    def resolve_output(self, ctx):
        return self._outputs(ctx.results)

    def steps(self, ctx):
        if self.offers_background and ctx.params.get("background"):
            run_alone(lambda: self.run(ctx, lambda report: None))
            yield ctx.ops.open_panel("region_search", layout="horizontal")
            message = "Working in the background: “Region search” shows how far it is"
            yield ctx.ops.notify(message, variant="info")
            return {"in_background": self.describe_job(ctx)[1]}

        before = state(ctx.dataset)
        results = yield from _follow(
            lambda report: self.run(ctx, report),
            lambda report: ctx.ops.set_progress(**report),
        )
        yield from reload(ctx, before)
        yield from self.finish(ctx, results)
        return results

    def run(self, ctx, report):
        """Does the work as a job of the dataset, which can be stopped and gone on with.

        Args:
            report: called with a dict of ``progress`` (0 to 1) and ``label``

        Returns:
            the results
        """
        key, title = self.describe_job(ctx)
        report({"progress": 0.0, "label": self.begins})
        with stoppable(ctx.dataset, key, title, report, request_of(ctx, self.uri)) as job:
            return self.work(ctx, job)

    def _outputs(self, results):
        outputs = types.Object()
        self.lay_out(results, outputs)
        return types.Property(outputs, view=types.View(label=self.results_label))


def _follow(job, show):
    """Runs a job in a thread and yields its progress, at most a few times a second.

    The job goes on to its end when the App's user closes the page and nobody reads on.
    """
    reports, result = queue.SimpleQueue(), Future()

    def run():
        try:
            result.set_result(job(reports.put))
        except BaseException as error:
            result.set_exception(error)
        finally:
            reports.put(None)

    threading.Thread(target=run, daemon=True).start()
    told_at = float("-inf")
    while (report := reports.get()) is not None:
        if time.monotonic() - told_at >= SHOW_SECONDS:
            yield show(report)
            told_at = time.monotonic()

    return result.result()


def _show_errors(ctx, steps):
    """Shows the error that ends an operator in the App, which else would show nothing at all; it is
    raised again for callers from Python and for FiftyOne's log."""
    try:
        return (yield from steps)
    except JobStopped as stop:
        yield _message(ctx, "info", "Stopped", str(stop))
        raise
    except Exception as error:
        yield _message(ctx, "error", "It did not work", str(error) or type(error).__name__)
        raise


def _result_of(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _message(ctx, severity, label, description):
    outputs = types.Object()
    outputs.view(severity, alert(severity, label, description))
    return ctx.ops.show_output(types.Property(outputs).to_json(), {})
