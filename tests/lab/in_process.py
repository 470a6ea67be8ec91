"""Jobs in the process of the test: a worker takes seconds to start."""

from concurrent.futures import Executor, Future


class InThisProcess(Executor):
    """Stands in for ProcessPoolExecutor; a job runs when it is submitted."""

    def __init__(self, workers, **_):
        pass

    def submit(self, function, /, *arguments):
        done = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done


def run_here(monkeypatch):
    """Let all jobs run in this process, and draw no pictures."""
    monkeypatch.setattr("sparse_engine.lab.train.workers.ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr("sparse_engine.lab.train.run.draw_pictures", lambda *_, **__: None)
