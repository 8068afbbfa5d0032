"""A comparison on a cluster whose workers are killed at random, and its scheduler once: no run is lost, none is made twice."""

import concurrent.futures
import json
import os
import random
import re
import time
import types
from pathlib import Path

import pytest
from comparisons import BOX, Cluster, compare, during, psutil, statuses, tree, until, until_ended

from sb3_maxent.compare import __main__ as command
from sb3_maxent.compare import folder as folders

SEEDS, KILLS = 20, 10
RUNS = {f"{algo} {BOX} {seed}" for algo in ("s2ac", "sac") for seed in range(SEEDS)}


def names_of(text):
    """Runs of a line such as "Failed: 3 (s2ac on Pendulum-v1: seeds 0, 1; sac on Pendulum-v1: seed 2)" """
    parts = re.findall(r"(\w+) on ([\w-]+): seeds? ([\d, ]+)", text)
    return [f"{algo} {env} {seed}" for algo, env, seeds in parts for seed in seeds.split(", ")]


def check_output(output, status):
    """Every run is told once as finished or failed, or as not finished at the end; what is told is what is there."""
    found = statuses()
    assert found.keys() == RUNS
    finished = {name for name, status in found.items() if status == "finished"}
    ended = re.findall(r"^\[\d+/\d+\] (\w+) on ([\w-]+), seed (\d+): (\w+)", output, re.MULTILINE)
    told = [(" ".join(name), what) for *name, what in ended]
    assert len({name for name, _ in told}) == len(told), "a run is told twice"
    skipped = names_of("".join(re.findall(r"^Finished already, skipped: .*", output, re.MULTILINE)))
    failed = names_of("".join(re.findall(r"^Failed: .*", output, re.MULTILINE)))
    not_finished = names_of("".join(re.findall(r"^Not finished: .*", output, re.MULTILINE)))
    assert finished.isdisjoint(failed) and finished.isdisjoint(not_finished)
    everything = [*finished, *failed, *not_finished]
    assert sorted(everything) == sorted(RUNS), "each is finished, or said not to be, once"
    assert {name for name, what in told if what == "finished"} <= finished and set(skipped) <= finished
    assert {name for name, what in told if what == "failed"} == set(failed)
    assert status == (0 if finished == RUNS else 1)
    return finished


def check_finished(names):
    """What lies in the folders of finished runs is complete, and theirs."""
    for result in folders.read_results(Path("runs/c")):
        name = f"{result.algo} {result.env} {result.seed}"
        if name in names:
            assert result.steps.tolist() == list(range(1, 11)) and (result.returns == result.seed).all(), name
            place = Path("runs/c", result.algo, f"{BOX}_{result.seed + 1}")
            record = json.loads((place / "run.json").read_text())
            assert [record[key] for key in ("algo", "env", "seed")] == [result.algo, BOX, result.seed]
            assert (place / f"{BOX}.zip").is_file() and (place / "log.txt").read_text() == f"training {name}\n"


def test_a_future_that_is_never_done(fakes, capsys, monkeypatch):
    """Dask leaves one behind where the scheduler goes while a result is on its way; the client closes then."""
    client = types.SimpleNamespace(status="running", ncores=lambda: {"a worker": 1}, close=lambda: None)

    class Pool:
        def submit(self, function, run):
            future: concurrent.futures.Future = concurrent.futures.Future()
            if run.algo == "s2ac":
                future.set_exception(concurrent.futures.CancelledError())
                client.status = "closed"
            return future

        def shutdown(self, wait):
            raise RuntimeError("Client is closed. Can't send cancel-keys message.")

    monkeypatch.setattr(command, "executor", lambda arguments: (Pool(), client))
    assert compare("--dask", "address") == 1
    output = capsys.readouterr().out
    assert "s2ac on Pendulum-v1, seed 0: interrupted: the scheduler has gone" in output
    assert "The scheduler has gone.\nNot finished: 2 (s2ac on Pendulum-v1: seed 0; sac on Pendulum-v1: seed 0)" in output


class Chaos:
    """Kills workers of a cluster at random moments, each time one that is there, and starts others in their place."""

    def __init__(self, started, cluster, chance):
        self.started, self.cluster, self.chance = started, cluster, chance
        self.workers = [cluster.start_worker(), cluster.start_worker()]
        self.kills = 0

    def kill_workers(self, n):
        for _ in range(n):
            before = len(self.started())
            until(lambda before=before: len(self.started()) > before + self.chance.randrange(3), seconds=120)
            time.sleep(self.chance.uniform(0, 0.5))  # anywhere in a run, or between two
            place = self.chance.randrange(len(self.workers))
            self.workers[place].kill()
            self.workers[place] = self.cluster.start_worker()
            self.kills += 1

    def kill_the_scheduler(self):
        before = len(self.started())
        until(lambda: len(self.started()) > before, seconds=120)
        self.cluster.processes[0].kill()


def run_under(action, cluster, capsys):
    """The comparison while something is done to its cluster."""
    doing = during(action)
    status = compare("--dask", cluster.address, seeds=SEEDS)
    doing.join()
    assert doing.results == [None], doing.results
    return check_output(capsys.readouterr().out, status)


@pytest.mark.slow
def test_workers_and_the_scheduler_are_killed(fakes, tmp_path, capsys, monkeypatch):
    seed = os.getpid()  # told, so that the same choices can be made again
    with capsys.disabled():
        print(f"chance by seed {seed}")
    chance = random.Random(seed)
    # That a kill hits the same run again and again would be chance; test_a_run_that_takes_its_workers_down is about that
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "3")
    clusters = []
    try:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            clusters.append(Cluster(fakes, tmp_path / name))
        chaos = Chaos(fakes.started, clusters[0], chance)

        def kill_all():
            chaos.kill_workers(KILLS // 2)
            chaos.kill_the_scheduler()

        finished = run_under(kill_all, clusters[0], capsys)
        check_finished(finished)
        assert 0 < len(finished) < len(RUNS), "the scheduler was killed in the middle"
        before = {name: tree(f"runs/c/{name.split()[0]}/{BOX}_{int(name.split()[2]) + 1}") for name in finished}

        again = Chaos(fakes.started, clusters[1], chance)
        finished_then = run_under(lambda: again.kill_workers(KILLS - KILLS // 2), clusters[1], capsys)
        assert finished <= finished_then
        check_finished(finished_then)

        status = compare("--dask", clusters[1].address, seeds=SEEDS)
        assert check_output(capsys.readouterr().out, status) == RUNS, "what chance has made fail is made up for"
        check_finished(RUNS)
        after = {name: tree(f"runs/c/{name.split()[0]}/{BOX}_{int(name.split()[2]) + 1}") for name in finished}
        assert after == before, "a finished run was touched"

        started = fakes.started()
        assert {start["run"] for start in started} == RUNS
        # A kill ends no more than one training, that of the scheduler no more than two
        assert chaos.kills + again.kills == KILLS and len(started) <= len(RUNS) + KILLS + 2
        for start in started:
            if psutil.pid_exists(start["pid"]):
                until_ended(psutil.Process(start["pid"]))
    finally:
        for cluster in clusters:
            cluster.stop()
