"""A stand-in for the trainings of a comparison, clusters that make them, and looking at what they left."""

import importlib.util
import json
import sys
import threading
import time
import types
from pathlib import Path

import gymnasium as gym
import pytest

# Not importorskip: importing rl_zoo3 replaces Gymnasium's TimeLimit, also for the tests of other files
if any(importlib.util.find_spec(module) is None for module in ("rl_zoo3", "rliable", "distributed", "tqdm")):
    pytest.skip('needs "sb3_maxent[compare]"', allow_module_level=True)

import psutil  # distributed's
import rliable.library  # noqa: F401  (numba's start is long, and belongs to no test)

from sb3_maxent.compare import __main__ as command
from sb3_maxent.compare import folder as folders

FAKE = """
import json, os, sys, threading, time, zipfile
from pathlib import Path
import numpy as np

def end_with_parent():
    os.read(0, 1)
    os._exit(1)

threading.Thread(target=end_with_parent, daemon=True).start()
option = lambda name: sys.argv[sys.argv.index(name) + 1]
algo, env, seed = option("--algo"), option("--env").replace("/", "-"), int(option("--seed"))
n, eval_freq, episodes = (int(option(f"--{name}")) for name in ("n-timesteps", "eval-freq", "eval-episodes"))
run, control = f"{algo} {env} {seed}", Path(__file__).parent
with (control / "started").open("a") as started:
    started.write(json.dumps({"run": run, "pid": os.getpid(), "arguments": sys.argv[1:]}) + "\\n")
plan = lambda: json.loads((control / "plan").read_text()).get(run, "")

def agent(path, steps):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", json.dumps({"num_timesteps": steps, "n_envs": 1, "start_time": time.time_ns()}))

folder = Path(option("--log-folder")) / algo / f"{env}_1"
(folder / env).mkdir(parents=True)
print("training", run)
if plan() == "fail":
    print("the reason", file=sys.stderr)
    sys.exit(3)
steps = np.arange(eval_freq, n + 1, eval_freq)
if plan() in ("half", "wait", "late failure"):
    steps = steps[: len(steps) // 2]
if plan() == "no last evaluation":
    steps = steps[:-1]
np.savez(folder / "evaluations", timesteps=steps, results=np.full((len(steps), episodes), float(seed)))
agent(folder / f"rl_model_{n // 2}_steps.zip", n // 2)
if plan() == "wait":
    (control / "waiting").write_text(run)
    while plan() == "wait":
        time.sleep(0.02)
    steps = np.arange(eval_freq, n + 1, eval_freq)
    np.savez(folder / "evaluations", timesteps=steps, results=np.full((len(steps), episodes), float(seed)))
if plan() == "late failure":
    sys.exit(4)
if plan() == "disk full":
    with (folder / "big").open("wb") as file:
        for _ in range(100):
            file.write(bytes(100_000))
if plan() == "says disk full":
    raise OSError(28, os.strerror(28))
if plan() != "no agent":
    agent(folder / f"{env}.zip", n // 2 if plan() == "half" else n)
"""
BOX, SLASH = "Pendulum-v1", "Fake/Pendulum-v1"
gym.register(SLASH, "gymnasium.envs.classic_control.pendulum:PendulumEnv")
HYPERPARAMS = {"policy": "MlpPolicy", "n_timesteps": 5, "learning_rate": 0.001}


def read_hyperparams(algo, env_id, conf=None):
    if algo == "tqc":
        raise ValueError("Hyperparameters not found")
    # A file of tests has only numbers: one a line
    own = dict(line.split(": ") for line in Path(conf).read_text().splitlines()) if conf else {}
    hyperparams = {**HYPERPARAMS, **{name: float(value) for name, value in own.items()}}
    return {name: value for name, value in hyperparams.items() if value != 0}


class Fakes:
    """Runs of the stand-in, and what they do"""

    def __init__(self, folder):
        self.folder = folder
        (folder / "fake.py").write_text(FAKE)
        self.plan({})

    @property
    def launcher(self):
        return [sys.executable, str(self.folder / "fake.py")]

    def plan(self, what):
        """What runs do that don't simply train, by "algo env seed" """
        (self.folder / "new").write_text(json.dumps(what))
        (self.folder / "new").replace(self.folder / "plan")

    def started(self):
        file = self.folder / "started"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def take_started(self):
        names = [start["run"] for start in self.started()]
        (self.folder / "started").unlink(missing_ok=True)
        return names

    def wait_until_waiting(self):
        """The process of the run that waits; another one may have started since"""
        waiting = self.folder / "waiting"
        until(lambda: waiting.exists() and waiting.read_text())
        *_, pid = (start["pid"] for start in self.started() if start["run"] == waiting.read_text())
        waiting.unlink()
        return psutil.Process(pid)


def until(condition, seconds=60):
    """A limit for what goes wrong only"""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "has not happened"
        time.sleep(0.02)


def until_ended(process):
    try:
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    except AssertionError:
        process.kill()
        raise
    except psutil.NoSuchProcess:  # between the two questions
        pass


def compare(*arguments, algos="s2ac sac", envs=BOX, seeds=1, n=10, folder="runs/c"):
    line = f"--algos {algos} --envs {envs} --seeds {seeds} -n {n} --eval-episodes 3 -f {folder}".split()
    return command.main([*line, *map(str, arguments)])


def statuses(folder="runs/c"):
    results = folders.read_results(Path(folder))
    return {f"{result.algo} {result.env} {result.seed}": result.status for result in results}


def tree(folder="runs/c"):
    return {str(path): path.stat().st_mtime_ns for path in Path(folder).rglob("*")}


class Cluster:
    """A scheduler and workers, each a process of its own as on a cluster"""

    def __init__(self, fakes, folder):
        self.preload = folder / "preload.py"
        self.preload.write_text(f"from sb3_maxent.compare import runs\nruns.LAUNCHER = {fakes.launcher!r}\n")
        self.folder, self.processes, self.scheduler_file = folder, [], folder / "scheduler.json"
        self.start("scheduler", "--no-dashboard", "--port", "0", "--host", "127.0.0.1")
        until(self.scheduler_file.exists)
        self.address = json.loads(self.scheduler_file.read_text())["address"]

    def start(self, *arguments):
        line = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", self.scheduler_file]
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            self.processes.append(psutil.Popen(list(map(str, line)), stdout=log, stderr=log, cwd=self.folder))
        return self.processes[-1]

    def start_worker(self):
        no_dashboard = ("--no-nanny", "--no-dashboard")
        return self.start("worker", *no_dashboard, "--nthreads", "1", "--preload", self.preload, "--host", "127.0.0.1")

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


def during(action):
    """Do something beside the test, and tell what went wrong in the end"""
    results = []

    def act():
        try:
            results.append(action())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    return types.SimpleNamespace(join=thread.join, results=results)
