"""Jobs that take long: how far they are, and a way to stop them.

Both are kept with the dataset in FiftyOne's execution store, so every tab and process sees them, a
delegated job's as well. A job that was killed is forgotten when it gives no sign of life any more.
"""

import logging
import threading
import time
import uuid
import weakref
from contextlib import contextmanager

import fiftyone.operators as foo

from alphaclip.errors import AlphaClipError
from alphaclip.files import StoreBusyError

STORE = "alphaclip_jobs"
RUNNING, STOPPED, OUTCOME = "running:", "stop:", "outcome:"
BEAT_SECONDS = 0.5
ALIVE_SECONDS = 15
"""A job without a sign of life for so long is taken for dead; a busy machine misses many beats."""

KEPT_SECONDS = 24 * 3600
"""What came of a job can still be read the next morning; FiftyOne then drops it by itself."""

logger = logging.getLogger(__name__)

_here = weakref.WeakValueDictionary()
"""The jobs of this process by their ids: they need not wait for a beat to hear of a stop."""


class JobStopped(AlphaClipError):
    """A job was ended by its Stop button."""


@contextmanager
def stoppable(dataset, key, title, report=None):
    """Makes a job visible in the App while it runs, with a Stop button; what came of it is kept
    for :func:`outcome`, before it is no longer running.

    Args:
        key: of the index that the job works on
        title: what it does
        report (None): called with a dict of ``progress`` (0 to 1) and ``label``

    Yields:
        a job, with ``progress``, a function of what is counted, how many are done and how many
        there are, which raises :class:`JobStopped` once somebody has pressed Stop; and ``said``,
        one sentence that can be set for when it has ended well

    Raises:
        StoreBusyError: if another job writes to the index; says which one
    """
    job = _Job(jobs_store(dataset), key, title, report)
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

    jobs_store(dataset).delete(OUTCOME + key)
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


def running(dataset):
    """Lists the jobs of a dataset that are alive.

    Returns:
        a list of dicts of ``id``, ``key``, ``title``, ``label``, ``progress`` (0 to 1),
        ``stopping`` and ``seen``, the time of the last sign of life
    """
    store = jobs_store(dataset)
    started = [store.get(name) for name in store.list_keys() if name.startswith(RUNNING)]
    return [
        {**job, "stopping": store.has(STOPPED + job["id"])}
        for job in started
        if job and job["seen"] > time.time() - ALIVE_SECONDS
    ]


def stop(dataset, job_id):
    """Asks a job to end; it does at its next sign of progress, and what it finished is kept.

    Args:
        job_id: the ``id`` of a running job
    """
    jobs_store(dataset).set_cache(STOPPED + job_id, True, ttl=KEPT_SECONDS)
    if job_id in _here:
        _here[job_id].stop()


def outcome(dataset, key):
    """Tells what came of the last job of an index.

    Args:
        key: of the index

    Returns:
        a dict of ``title``, ``severity``, ``text`` and ``at``, when it ended, or None
    """
    return jobs_store(dataset).get(OUTCOME + key)


def last_outcome(dataset, since):
    """Tells what came of the last job of any index, or of a field of masks.

    Args:
        since: a time; what ended earlier does not count

    Returns:
        see :func:`outcome`
    """
    store = jobs_store(dataset)
    ended = [store.get(name) for name in store.list_keys() if name.startswith(OUTCOME)]
    late = [told for told in ended if told and told["at"] > since]
    return max(late, key=lambda told: told["at"], default=None)


def jobs_store(dataset):
    """Opens what is kept of a dataset's jobs.

    Returns:
        a :class:`fiftyone.operators.store.ExecutionStore`
    """
    return foo.ExecutionStore.create(STORE, dataset_id=dataset._doc.id)


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
        about: a dict of ``id``, ``key`` and ``title``
        said: one sentence for when it has ended well
    """

    def __init__(self, store, key, title, report):
        super().__init__(daemon=True)
        self._store, self._report, self._id = store, report, uuid.uuid4().hex
        self.about = {"id": self._id, "key": key, "title": title}
        self.said = "It is done."
        self._state = {"label": "Starting", "progress": 0.0}
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
        label = "%d of %d %s" % (done, total, what)
        self._state = {"progress": done / max(total, 1), "label": label}
        if self._report is not None:
            self._report(dict(self._state))

        if self._stop_asked.is_set():
            raise JobStopped("Stopped at %s. The next run goes on from what is finished." % label)

    def stop(self):
        self._stop_asked.set()

    def tell(self, severity, text):
        told = {"severity": severity, "text": text, "title": self.about["title"]}
        told["at"] = time.time()
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
