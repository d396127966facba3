"""Processes of their own for tests that need one, forked from a server that has imported what is slow to import.

What a program reads at its import (variables for torch, missing modules, closed streams) needs a fresh one: subprocess.
"""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from multiprocessing import forkserver, reduction
from subprocess import DEVNULL, PIPE, STDOUT

from makers import free_port

from autost_optuna.storage.storage import open_storage

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "autost_optuna.cli",
        "autost_optuna.delivery.export",
        "autost_optuna.training.halving",
        "autost_optuna.delivery.report",
        "autost_optuna.search.runner",
        "autost_optuna.storage.storage",
        "autost_optuna.training.crew",
        "autost_optuna.storage.transfer",
        "autost_optuna.data.digits",
        "autost_optuna.data.nmnist",
        "optuna_dashboard",
        "sklearn.datasets",
    ]
)


def ensure_server():
    """Start the server where it does not run yet."""
    # A process that has started threads of torch's cannot be forked: the child would wait for them for ever.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def forks():
    """The context of multiprocessing whose processes are warm."""
    ensure_server()
    return FORKS


def start(target, *arguments):
    """A process that calls a function of a test's module."""
    ensure_server()
    process = FORKS.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


class _Stream:
    """A file descriptor on its way to the other process."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return _detached, (reduction.DupFd(self.number),)


def _detached(there):
    return there.detach()


class Popen:
    """As subprocess.Popen([sys.executable, *words]), in some hundredths of a second."""

    def __init__(self, words, *, cwd=None, env=None, stdout=None, stderr=None, text=False, start_new_session=False):
        ensure_server()
        self.args = [str(word) for word in words]
        with contextlib.ExitStack() as theirs:
            self.stdout, out = self._open(stdout, 1, theirs, text)
            self.stderr, err = (None, out) if stderr == STDOUT else self._open(stderr, 2, theirs, text)
            variables = dict(os.environ if env is None else env)
            given = (self.args, str(cwd or os.getcwd()), variables, _Stream(out), _Stream(err), start_new_session)
            self.process = FORKS.Process(target=_program, args=given, daemon=True)  # no test's end waits for it
            self.process.start()
        self.pid = self.process.pid

    @staticmethod
    def _open(wanted, ours, theirs, text):
        """This side's end of a stream, if it has one, and the descriptor for the other side."""
        if wanted is None:
            return None, ours
        if wanted == PIPE:
            read, write = os.pipe()
            theirs.callback(os.close, write)
            return open(read, **({"encoding": "utf-8"} if text else {"mode": "rb"})), write
        if wanted == DEVNULL:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            theirs.callback(os.close, nowhere)
            return None, nowhere
        return None, wanted

    @property
    def returncode(self):
        return self.process.exitcode

    def poll(self):
        return self.process.exitcode

    def wait(self, timeout=None):
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.process.exitcode

    def communicate(self, timeout=None):
        """What is left in its streams, when it has ended."""
        found = {}

        def read(stream):
            with stream:
                found[stream] = stream.read()

        streams = [stream for stream in (self.stdout, self.stderr) if stream and not stream.closed]
        readers = [threading.Thread(target=read, args=(stream,), daemon=True) for stream in streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        return found.get(self.stdout), found.get(self.stderr)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.process.kill()

    def terminate(self):
        self.process.terminate()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, at):
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()


def run(words, *, timeout=None, capture_output=False, **options):
    """As subprocess.run([sys.executable, *words])."""
    if capture_output:
        options.update(stdout=PIPE, stderr=PIPE)
    process = Popen(words, **options)
    try:
        out, err = process.communicate(timeout)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def program(*words, **options):
    """The command line to its end."""
    return run(["-m", "autost_optuna", *words], capture_output=True, text=True, **options)


SERVER = (
    "import sys, optuna; from autost_optuna.storage.storage import open_storage;"
    "optuna.storages.run_grpc_proxy_server(open_storage(sys.argv[1], create=True), host='127.0.0.1', port=int(sys.argv[2]))"
)


class Server:
    """Optuna's gRPC server over a journal, that can be killed and started again."""

    def __init__(self, journal):
        self.journal, self.port = str(journal), free_port()
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = Popen(["-c", SERVER, self.journal, self.port], stderr=DEVNULL)
        # A client that asks before the server listens waits a second and more until it asks again.
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return open_storage(self.url)
            time.sleep(0.02)
        raise AssertionError("the server did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


def _program(words, folder, variables, out, err, session):
    """What the other process does: `python WORDS` to its end."""
    if session:
        os.setsid()
    for stream, number in ((out, 1), (err, 2)):
        os.dup2(stream, number)
        os.close(stream)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # blocked by a pool
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    multiprocessing.current_process().daemon = False  # a daemon could start no workers
    kept = sys.stdout, sys.stderr  # closed with their last reference, and the descriptors with them
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    try:
        _interpret(words)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int | None) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    else:
        code = 0
    threading._shutdown()
    atexit._run_exitfuncs()
    del kept
    sys.exit(code)


def _interpret(words):
    """As the interpreter does with its command line."""
    first, *rest = words
    if first == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        sys.argv = words
        runpy.run_path(first, run_name="__main__")
