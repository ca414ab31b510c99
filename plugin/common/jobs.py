"""Jobs that take long: how far they are, a way to stop them, and to go on with them.

All is kept with the dataset in FiftyOne's execution store, so every tab and process sees it, of a
delegated job as well, and no other dataset does. A job that was killed gives no sign of life any
more: it can be gone on with, as one that was stopped.
"""

import logging
import threading
import time
import uuid
import weakref
from contextlib import contextmanager

import fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionContext

from alphaclip.errors import AlphaClipError
from alphaclip.files import StoreBusyError

from .grid import outline
from .reports import in_words

STORE = "alphaclip_jobs"
RUNNING, STOPPED, OUTCOME = "running:", "stop:", "outcome:"
BEAT_SECONDS = 0.5
ALIVE_SECONDS = 15
"""A job without a sign of life for so long is taken for dead; a busy machine misses many beats."""

KEPT_SECONDS = 24 * 3600
"""What came of a job can still be read the next morning; FiftyOne then drops it by itself."""

TELLING_SECONDS, TELLING_SHARE = 2.0, 0.01
"""How long something was counted, and how much of it, before it says how long the rest takes."""

logger = logging.getLogger(__name__)

_here = weakref.WeakValueDictionary()
"""The jobs of this process by their ids: they need not wait for a beat to hear of a stop."""


class JobStopped(AlphaClipError):
    """A job was ended by its Stop button."""


@contextmanager
def stoppable(dataset, key, title, report=None, again=None):
    """Makes a job visible in the App while it runs, with a Stop button; what came of it is kept
    for :func:`outcome`, before it is no longer running.

    Args:
        key: of the index that the job works on
        title: what it does
        report (None): called with a dict of ``progress`` (0 to 1) and ``label``
        again (None): what :func:`resume` does to go on with it, see :func:`request_of`

    Yields:
        a job, with ``progress``, a function of what is counted, how many are done and how many
        there are, which raises :class:`JobStopped` once somebody has pressed Stop; and ``said``,
        one sentence that can be set for when it has ended well

    Raises:
        StoreBusyError: if another job writes to the index; says which one
    """
    job = _Job(dataset, key, title, report, again)
    job.start()
    try:
        yield job
        job.tell("success", job.said)
    except JobStopped as error:
        job.tell("info", str(error))
        raise
    except StoreBusyError as error:
        message = _name_writer(dataset, job.about) or str(error)
        job.tell("error", message)
        raise StoreBusyError(message) from error
    except Exception as error:
        job.tell("error", str(error) or type(error).__name__)
        raise
    finally:
        job.end()


def start(dataset, key, title, work):
    """Runs a job in a thread of its own.

    Args:
        key: of the index that the job works on
        title: what it does
        work: a function of one argument, the progress function of :func:`stoppable`, that returns
            one sentence
    """

    def run():
        with stoppable(dataset, key, title) as job:
            job.said = work(job.progress)

    dismiss(dataset, key)
    run_alone(run)


def run_alone(work):
    """Runs something in a thread of its own, for as long as it takes.

    Args:
        work: a function without arguments; :func:`stoppable` in it keeps what comes of it
    """

    def run():
        try:
            work()
        except JobStopped:
            pass
        except Exception:
            logger.exception("a job in the background did not work")

    threading.Thread(target=run, daemon=True).start()


def jobs_of(dataset):
    """Tells of a dataset's jobs what a panel shows of them.

    Returns:
        a dict of JSON values: ``running``, a list of dicts of ``id``, ``key``, ``title``,
        ``label``, ``progress`` (0 to 1), ``seconds_left`` (of what is counted now; None before
        that can be told) and ``stopping``; ``ended``, what came of the last job of each key in the
        last 24 hours, the newest first: dicts of ``key``, ``title``, ``severity``, ``text`` and
        ``at``, the time; and ``resumable``, see :func:`resumable`
    """
    names = ("id", "key", "title", "label", "progress", "seconds_left", "stopping")
    alive = [{name: job.get(name) for name in names} for job in running(dataset)]
    told = sorted(_ended(dataset), key=lambda one: one["at"], reverse=True)
    names = ("key", "title", "severity", "text", "at")
    ended = [{name: one.get(name) for name in names} for one in told]
    return {"running": alive, "ended": ended, "resumable": resumable(dataset)}


def running(dataset):
    """Lists the jobs of a dataset that are alive.

    Returns:
        a list of dicts of ``id``, ``key``, ``title``, ``label``, ``progress`` (0 to 1),
        ``seconds_left``, ``stopping`` and ``seen``, the time of the last sign of life
    """
    store = jobs_store(dataset)
    return [
        {**job, "stopping": store.has(STOPPED + job["id"])}
        for job in _started(store)
        if _is_alive(job)
    ]


def stop(dataset, job_id):
    """Asks a job to end; it does at its next sign of progress, and what it finished is kept.

    Args:
        job_id: the ``id`` of a running job
    """
    jobs_store(dataset).set_cache(STOPPED + job_id, True, ttl=KEPT_SECONDS)
    if job_id in _here:
        _here[job_id].stop()


def resumable(dataset):
    """Lists what was begun and can be gone on with: jobs that were stopped, were killed or failed
    on the way in the last 24 hours, and builds of an index, also older ones or those of a terminal.

    Returns:
        a list of dicts of JSON values: ``key``, ``title``, ``done`` and ``total``
    """
    from alphaclip.indexing import unfinished

    builds = {
        build.key: {"title": "Embedding %s" % build.key, "done": build.done, "total": build.total}
        for build in unfinished(dataset)
    }
    alive = {job["key"] for job in running(dataset)}
    names = ("title", "done", "total")
    for key, job in _left(dataset).items():
        builds[key] = {**{name: job.get(name) for name in names}, **builds.get(key, {})}

    return [{"key": key, **about} for key, about in builds.items() if key not in alive]


def resume(dataset, key):
    """Goes on with a job, in the background.

    Args:
        key: of one of :func:`resumable`

    Raises:
        AlphaClipError: if a job of this key runs, or there is none to go on with
    """
    busy = next((job for job in running(dataset) if job["key"] == key), None)
    if busy is not None:
        raise AlphaClipError("“%s” is running" % busy["title"])

    if key not in {one["key"] for one in resumable(dataset)}:
        raise AlphaClipError("There is nothing to go on with of %r: start it anew" % key)

    again = _left(dataset).get(key, {}).get("again")
    if again is None:
        start(dataset, key, "Embedding %s" % key, lambda tell: _build_on(dataset, key, tell))
        return

    dismiss(dataset, key)
    run_alone(lambda: _execute(dataset, again))


def request_of(ctx, uri):
    """Keeps what an operator was asked for, so that it can be asked again.

    Args:
        uri: of the operator

    Returns:
        a text, or None if it cannot be kept
    """
    from bson import json_util

    request = {
        "uri": uri,
        "params": {**ctx.params, "background": False},
        "view": None if ctx.view is None else ctx.view._serialize(include_uuids=False),
        "selected": list(ctx.selected or []),
    }
    try:
        return json_util.dumps(request)
    except TypeError:
        # What a program gave may be no JSON
        return None


def dismiss(dataset, key):
    """Forgets what came of the last job of a key, so that it is neither shown nor gone on with;
    what it has finished stays.

    Args:
        key: of the job
    """
    store = jobs_store(dataset)
    store.delete(OUTCOME + key)
    for job in _started(store):
        if job["key"] == key and not _is_alive(job):
            store.delete(RUNNING + job["id"])


def outcome(dataset, key):
    """Tells what came of the last job of an index.

    Args:
        key: of the index

    Returns:
        a dict of ``key``, ``title``, ``severity``, ``text``, ``at``, when it ended, and
        ``reshaped``, whether the dataset has other fields, runs or saved views since; or None
    """
    return jobs_store(dataset).get(OUTCOME + key)


def last_outcome(dataset, since):
    """Tells what came of the last job of any index, or of a field of masks.

    Args:
        since: a time; what ended earlier does not count

    Returns:
        see :func:`outcome`
    """
    late = [told for told in _ended(dataset) if told["at"] > since]
    return max(late, key=lambda told: told["at"], default=None)


def jobs_store(dataset):
    """Opens what is kept of a dataset's jobs.

    Returns:
        a :class:`fiftyone.operators.store.ExecutionStore`
    """
    return foo.ExecutionStore.create(STORE, dataset_id=dataset._doc.id)


def _ended(dataset):
    store = jobs_store(dataset)
    names = [name for name in store.list_keys() if name.startswith(OUTCOME)]
    told = ((name, store.get(name)) for name in names)
    return [{"key": name[len(OUTCOME) :], **one} for name, one in told if one]


def _started(store):
    jobs = [store.get(name) for name in store.list_keys() if name.startswith(RUNNING)]
    return [job for job in jobs if job]


def _is_alive(job):
    return job["seen"] > time.time() - ALIVE_SECONDS


def _left(dataset):
    """The jobs that an operator can go on with, by their keys: those that say how, and were stopped
    or killed, or failed on the way."""
    killed = [job for job in _started(jobs_store(dataset)) if not _is_alive(job)]
    ended = [
        told
        for told in _ended(dataset)
        if told["severity"] == "info" or 0 < told.get("done", 0) < told.get("total", 0)
    ]
    return {job["key"]: job for job in [*killed, *ended] if job.get("again")}


def _execute(dataset, again):
    from bson import json_util

    request = json_util.loads(again)
    uri = request.pop("uri")
    ctx = ExecutionContext({"dataset_name": dataset.name, **request}, operator_uri=uri)
    foo.get_operator(uri).run(ctx, lambda report: None)


def _build_on(dataset, key, progress):
    from alphaclip.indexing import resume

    return in_words(key, resume(dataset, key, progress).info()["report"])


def _name_writer(dataset, about):
    same = (job for job in running(dataset) if job["key"] == about["key"])
    other = next((job for job in same if job["id"] != about["id"]), None)
    if other is None:
        return None

    message = "“%s” is running (%s): wait until it is done, or stop it in “Region search”"
    return message % (other["title"], other["label"])


class _Job(threading.Thread):
    """Tells the store how a job is, and looks there whether it is to stop.

    Attributes:
        about: a dict of ``id``, ``key``, ``title`` and, if it can be gone on with, ``again``
        said: one sentence for when it has ended well
    """

    def __init__(self, dataset, key, title, report, again):
        super().__init__(daemon=True)
        self._dataset, self._store = dataset, jobs_store(dataset)
        self._outline = outline(dataset)
        self._report, self._id = report, uuid.uuid4().hex
        self.about = {"id": self._id, "key": key, "title": title, "again": again}
        self.said = "It is done."
        self._state, self._pace = {"label": "Starting", "progress": 0.0}, _Pace()
        self._stop_asked, self._over = threading.Event(), threading.Event()
        _here[self._id] = self

    def run(self):
        while True:
            try:
                self._beat()
            except Exception:
                logger.warning("a job's progress could not be kept", exc_info=True)

            if self._over.wait(BEAT_SECONDS):
                return

    def progress(self, what, done, total):
        label, share = "%d of %d %s" % (done, total, what), done / max(total, 1)
        self._state = {
            "progress": share,
            "label": label,
            "done": done,
            "total": total,
            "seconds_left": self._pace.seconds_left(what, share),
        }
        if self._report is not None:
            self._report({"progress": share, "label": label})

        if self._stop_asked.is_set():
            raise JobStopped("Stopped at %s. The next run goes on from what is finished." % label)

    def stop(self):
        self._stop_asked.set()

    def tell(self, severity, text):
        told = {**self.about, "severity": severity, "text": text, "at": time.time()}
        told |= {name: self._state.get(name, 0) for name in ("done", "total")}
        told["reshaped"] = outline(self._dataset) != self._outline
        self._store.set_cache(OUTCOME + self.about["key"], told, ttl=KEPT_SECONDS)

    def end(self):
        self._over.set()
        self.join()
        self._store.delete(RUNNING + self._id)
        self._store.delete(STOPPED + self._id)

    def _beat(self):
        job = {**self.about, **self._state, "seen": time.time()}
        self._store.set_cache(RUNNING + self._id, job, ttl=KEPT_SECONDS)
        if self._store.has(STOPPED + self._id):
            self.stop()


class _Pace:
    """How fast what a job counts has gone so far."""

    def __init__(self):
        self._what = None

    def seconds_left(self, what, share):
        """Estimates how long the rest takes.

        Args:
            what: is counted
            share: of it that is done

        Returns:
            seconds, or None before that can be told
        """
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._first = what, now, share

        spent, gone = now - self._began, share - self._first
        if spent < TELLING_SECONDS or gone < TELLING_SHARE:
            return None

        return round(spent * (1 - share) / gone)
