"""Where packs are worked on: processes of this machine, a Ray or Dask cluster through joblib, or Slurm through submitit.

Each takes packs and returns when all were tried. What became of a run stands in its folder, which all workers share;
a worker that dies takes nothing with it but the work since its last checkpoint.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.sweep.packs import Pack
from rnnbench.sweep.work import work

Backend = Callable[[Sequence[Pack], int, Path, dict[str, Any]], None]


def loky(packs: Sequence[Pack], workers: int, stop: Path, _: dict[str, Any]) -> None:
    """Processes on this machine."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with suppress(TerminatedWorkerError):  # somebody killed a worker: the launcher asks again for what is missing
        Parallel(n_jobs=min(workers, len(packs)), backend="loky", batch_size=1)(delayed(work)(pack, stop) for pack in packs)


def ray(packs: Sequence[Pack], workers: int, stop: Path, options: dict[str, Any]) -> None:
    """A Ray cluster: the running one (RAY_ADDRESS, or options.address), or one on this machine. Needs rnnbench[ray]."""
    try:
        import ray as library
    except ImportError:
        raise UserError("backend=ray needs Ray: pip install 'rnnbench[ray]'") from None
    started = not library.is_initialized()
    if started:
        library.init(**(options or {"num_cpus": workers}), log_to_driver=False, include_dashboard=False)
    try:
        remote = library.remote(max_retries=2)(work)  # a killed worker's pack goes to another, and on from its checkpoints
        waiting = [remote.remote(pack, stop) for pack in packs]
        while waiting:
            done, waiting = library.wait(waiting)
            for reference in done:
                with suppress(library.exceptions.RayError):  # dead for good: the launcher sees what is missing
                    library.get(reference)
    finally:
        if started:
            library.shutdown()


def dask(packs: Sequence[Pack], workers: int, stop: Path, options: dict[str, Any]) -> None:
    """A Dask cluster: options.address, or one on this machine. Needs rnnbench[dask]."""
    try:
        from dask.distributed import Client, as_completed
    except ImportError:
        raise UserError("backend=dask needs Dask: pip install 'rnnbench[dask]'") from None
    with Client(**(options or {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None})) as client:
        futures = [client.submit(work, pack, stop, pure=False) for pack in packs]
        for future in as_completed(futures, raise_errors=False):
            future.release()


def submitit(packs: Sequence[Pack], workers: int, stop: Path, options: dict[str, Any]) -> None:
    """Slurm, an array job with a task per pack; on a machine without Slurm, processes. Needs rnnbench[slurm].

    options: submitit's own (`timeout_min`, `slurm_partition`, `mem_gb` …), and `cluster=local` to force processes.
    """
    try:
        import submitit as library
    except ImportError:
        raise UserError("backend=submitit needs submitit: pip install 'rnnbench[slurm]'") from None
    options = dict(options)
    executor = library.AutoExecutor(folder=stop.parent / "submitit", cluster=options.pop("cluster", None))
    executor.update_parameters(**{"timeout_min": 60, "slurm_array_parallelism": workers} | options)
    for task in executor.map_array(work, packs, [stop] * len(packs)):
        task.wait()


BACKENDS: dict[str, Backend] = {"loky": loky, "ray": ray, "dask": dask, "submitit": submitit}
