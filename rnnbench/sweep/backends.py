"""Where packs are worked on: processes of this machine, a Ray or Dask cluster, or Slurm through
submitit.

Each takes packs and yields them as they end, with what became of their runs; None: the pack's
worker died. What a run left stands in its folder, which all workers share: a worker that dies takes
nothing with it but the work since its last checkpoint.
"""

import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rnnbench.compose import environment
from rnnbench.errors import UserError
from rnnbench.sweep.packs import Pack
from rnnbench.sweep.planning import Job
from rnnbench.sweep.work import Ended, Orders, enlist, work

Result = tuple[Pack, list[Ended] | None]
Backend = Callable[[Sequence[Pack], int, Orders, dict[str, Any]], Iterator[Result]]
# One thread each; and memory is kept for the next batch: fetching it anew from the system costs a
# fifth of a pack's time.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
ENVIRONMENT |= {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**26),
}


def loky(
    packs: Sequence[Pack], workers: int, orders: Orders, _: dict[str, Any]
) -> Iterator[Result]:
    """Processes on this machine: one single-threaded process per core, or one per GPU.

    Every process is a pool of its own: when one dies, loky gives up its pool, and that must not end
        the others' packs.
    """
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.backend.resource_tracker import ensure_running
    from joblib.externals.loky.process_executor import BrokenProcessPool

    # A process that has grown by 300 MB is replaced between packs: nothing to warn of, and where
    # warnings are errors this one would end the thread that waits for the next process.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
    here, devices = (
        replace(orders, parent=os.getpid()),
        gpus([job for pack in packs for job in pack]),
    )
    with environment(PYTHONWARNINGS="ignore"):  # after kill -9 it would count what is left
        ensure_running()
    waiting, results = deque(packs), SimpleQueue[Result | BaseException | None]()
    pools: dict[int, Any] = {}

    def serve(number: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which its process inherits
        environment = ENVIRONMENT | (
            {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
        )
        try:
            while waiting and not orders.stopped():
                pack = waiting.popleft()
                if number not in pools:
                    pools[number] = ProcessPoolExecutor(
                        1, initializer=enlist, initargs=(here.parent, here.log), env=environment
                    )
                try:
                    ended = pools[number].submit(work, pack, here).result()
                except BrokenProcessPool:
                    ended = None
                if ended is None or any(
                    e.status == "interrupted" for e in ended
                ):  # it has died, or was told to
                    pools.pop(number).shutdown(kill_workers=True)
                results.put((pack, ended))
        except IndexError:  # another took the last pack in between
            pass
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    threads = [
        threading.Thread(target=serve, args=(k,), daemon=True)
        for k in range(min(workers, len(packs)))
    ]
    for thread in threads:
        thread.start()
    serving = len(threads)
    try:
        while serving:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                serving -= 1
            else:
                yield result
    finally:
        waiting.clear()
        for pool in list(pools.values()):
            pool.shutdown(kill_workers=True)


def gpus(jobs: Sequence[Job]) -> list[str]:
    """The GPUs to deal to workers, as CUDA_VISIBLE_DEVICES names them; none for runs that say
    which, or cpu. Without torch.
    """
    if any(job.settings.engine.device not in ("auto", "cuda") for job in jobs):
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device for device in visible.split(",") if device not in ("", "-1")]
    return [str(k) for k, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def ray(
    packs: Sequence[Pack], workers: int, orders: Orders, options: dict[str, Any]
) -> Iterator[Result]:
    """A Ray cluster: that of cluster.address or RAY_ADDRESS, else one on this machine.

    Needs rnnbench[ray].

    cluster: arguments of ray.init. A worker on a GPU node: cluster.num_gpus=1 has it count GPUs
        instead of cores.
    """
    library = extra("ray", "ray")
    options = dict(options)
    share = {"num_cpus": 1, "num_gpus": options.pop("num_gpus", 0)}
    started = not library.is_initialized()
    if started:
        local = (
            {}
            if options.get("address") or os.environ.get("RAY_ADDRESS")
            else {"num_cpus": workers, "include_dashboard": False}
        )
        with said_of_cluster(), deaf():
            library.init(**{"log_to_driver": False, "logging_level": "error"} | local | options)
    try:
        # a worker that died is our affair: its runs go on from their checkpoints, in smaller packs
        remote = library.remote(max_retries=0, **share)(work)
        running = {remote.remote(pack, orders): pack for pack in packs}
        while running:
            done, _ = library.wait(list(running), timeout=1.0)
            for reference in done:
                pack = running.pop(reference)
                try:
                    yield pack, library.get(reference)
                except library.exceptions.RayTaskError as error:
                    raise error.cause from None
                except library.exceptions.RayError:
                    yield pack, None
    finally:
        if started:
            library.shutdown()


def dask(
    packs: Sequence[Pack], workers: int, orders: Orders, options: dict[str, Any]
) -> Iterator[Result]:
    """A Dask cluster: that of cluster.address, else one on this machine. Needs rnnbench[dask].

    cluster: arguments of dask.distributed.Client.
    """
    library = extra("distributed", "dask")
    local = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "dashboard_address": ":0",
        "silence_logs": 50,
    }
    # again: our affair
    extra("dask.config", "dask").set({"distributed.scheduler.allowed-failures": 0})
    with said_of_cluster(), deaf():
        cluster = library.Client(**(options if "address" in options else local | options))
    with cluster as client:
        running = {client.submit(work, pack, orders, pure=False): pack for pack in packs}
        for future in library.as_completed(list(running), raise_errors=False):
            error = future.exception() if future.status == "error" else None
            if error is not None and not isinstance(error, library.KilledWorker):
                raise error
            yield running.pop(future), future.result() if future.status == "finished" else None


class Requeued:
    """`work` for Slurm: a job that is preempted or runs out of time goes back into the queue, and
    on from its checkpoints.
    """

    def __call__(self, pack: Pack, orders: Orders) -> list[Ended]:
        return work(pack, orders)

    def checkpoint(self, pack: Pack, orders: Orders) -> Any:
        return extra("submitit", "slurm").helpers.DelayedSubmission(self, pack, orders)


def submitit(
    packs: Sequence[Pack], workers: int, orders: Orders, options: dict[str, Any]
) -> Iterator[Result]:
    """Slurm: an array job with a task per pack, `workers` of them at a time. Needs rnnbench[slurm].

    cluster: submitit's parameters, and cluster.cluster=local for processes of this machine. On a
        cluster, from a login node:

        rnnbench train -m cell=lstm,gru seed=range(100) backend=submitit workers=20 pack=32 \
            cluster.slurm_partition=cpu cluster.timeout_min=240 cluster.cpus_per_task=1
            cluster.mem_gb=4
    """
    library = extra("submitit", "slurm")
    options = dict(options)
    with said_of_cluster():
        executor = library.AutoExecutor(
            folder=orders.going.parent / "submitit", cluster=options.pop("cluster", None)
        )
        executor.update_parameters(
            **{"timeout_min": 60, "slurm_array_parallelism": workers} | options
        )
    slurm = executor.cluster == "slurm"
    waiting, running = deque(packs), dict[Any, Pack]()
    while waiting or running:
        # Slurm itself keeps to `workers`
        room = len(waiting) if slurm else min(len(waiting), workers - len(running))
        if room and not orders.stopped():
            batch = [waiting.popleft() for _ in range(room)]
            with deaf():
                running |= zip(
                    executor.map_array(Requeued(), batch, [orders] * room), batch, strict=True
                )
        if orders.stopped():
            waiting.clear()
            for job in [job for job in running if job.state == "PENDING"]:
                job.cancel()
                del running[job]
        for job in [job for job in running if job.done()]:
            try:
                result = job.result()
            except library.core.utils.FailedJobError:
                raise
            except library.core.utils.UncompletedJobError:
                result = None
            yield running.pop(job), result
        time.sleep(1.0 if slurm else 0.1)


@contextmanager
def deaf() -> Iterator[None]:
    """Threads and processes that start here never hear Ctrl-C, which reaches all of a terminal's;
    this thread does again.
    """
    # else the first process to start would start it, and unblock signals
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def extra(module: str, name: str) -> Any:
    """A library that only some need."""
    try:
        return import_module(module)
    except ImportError:
        raise UserError(f"this backend needs {module}: pip install 'rnnbench[{name}]'") from None


@contextmanager
def said_of_cluster() -> Iterator[None]:
    """What a library has against the options in cluster.…, or against the cluster, in one line."""
    try:
        yield
    except Exception as error:
        raise UserError(f"cluster: {' '.join(str(error).split())}") from None


BACKENDS: dict[str, Backend] = {"loky": loky, "ray": ray, "dask": dask, "submitit": submitit}
