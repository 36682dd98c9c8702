"""A server under test and runs of anyprec-loadtest against it."""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time


def numbers(text):
    """For argparse: "1,2.5" as numbers above zero."""
    values = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(
                "\"%s\" in \"%s\", needs numbers above zero, with commas in "
                "between" % (part, text))
        values.append(value)
    return values


class Server:
    """Started by the constructor, which waits until it serves; see stop()."""

    def __init__(self, binary, model, folder, *flags):
        self._folder = tempfile.mkdtemp(dir=folder)
        with open(self._file("log"), "wb") as log:
            self.process = subprocess.Popen(
                [binary, "--model=" + model, "--port=0", "--metrics_port=0",
                 "--port_file=" + self._file("port"),
                 "--metrics_port_file=" + self._file("metrics"),
                 "--log_level=error", *flags],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=log)
        deadline = time.monotonic() + 300
        while not os.path.exists(self._file("port")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self._file("log"), encoding="utf-8") as log:
                    sys.exit("no server: %s %s\n%s"
                             % (binary, " ".join(flags), log.read()))
            time.sleep(0.1)

    def _file(self, name):
        return os.path.join(self._folder, name)

    def _port(self, name):
        with open(self._file(name), encoding="ascii") as file:
            return "127.0.0.1:" + file.read().strip()

    @property
    def target(self):
        return self._port("port")

    @property
    def metrics(self):
        return "http://%s/metrics" % self._port("metrics")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def run_loadtest(binary, *flags):
    """The report of one run, as a dictionary."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        command = [binary, "--json=" + report, *flags]
        done = subprocess.run(command, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit("%s\n%s" % (" ".join(command), done.stderr))
        with open(report, encoding="utf-8") as file:
            return json.load(file)
