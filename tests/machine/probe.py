"""Agents who sign in and poll all the time, to measure how long that takes with and without a fault."""

import math
import threading
import time

from client import Agent, NoAnswer
from gateway import Gateway


class Prober:
    """Signs in, polls for the two events of the session, and signs out, again and again."""

    def __init__(self, gateway: Gateway, numbers: list[int]):
        self.samples: list[tuple[float, str, float]] = []
        self.working = threading.Event()
        self.working.set()
        for number in numbers:
            threading.Thread(target=self.work, args=[gateway.agent(number)], daemon=True).start()

    def work(self, agent: Agent) -> None:
        while self.working.wait():
            for what, act in (("sign-in", agent.sign_in), ("poll", agent.poll), ("poll", agent.poll), ("sign-out", agent.sign_out)):
                begun = time.monotonic()
                try:
                    act()
                except NoAnswer:
                    what = "no answer"
                self.samples.append((begun, what, time.monotonic() - begun))
                if what == "no answer":
                    break
            time.sleep(0.3)

    def count(self, what: str, begun: float, ended: float) -> int:
        return sum(begun <= at < ended and kind == what for at, kind, _ in list(self.samples))

    def p99(self, what: str, begun: float, ended: float) -> float:
        """In seconds; with fewer than a hundred samples it is the longest."""
        took = sorted(took for at, kind, took in list(self.samples) if kind == what and begun <= at < ended)
        return took[math.ceil(0.99 * len(took)) - 1] if took else math.inf


class Session:
    """An agent who stays signed in and polls like a desktop, and signs in again after a stop of the service."""

    def __init__(self, gateway: Gateway, number: int):
        self.agent = gateway.agent(number)
        self.poller = gateway.agent(number)
        self.signed_in, self.working = threading.Event(), threading.Event()
        self.working.set()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        while True:
            try:
                if not self.signed_in.is_set():
                    if self.poller.sign_in() != "0":
                        time.sleep(1)
                        continue
                    self.agent.guid = self.poller.guid
                    self.signed_in.set()
                if not self.working.is_set():
                    self.poller.sign_out()
                    self.signed_in.clear()
                    self.working.wait()
                    continue
                answer = self.poller.poll()
                self.agent.guid = self.poller.guid
                if answer["retcode"] != "0":
                    self.signed_in.clear()
            except NoAnswer:
                # The service is stopped; its sessions end with it.
                self.signed_in.clear()
                time.sleep(0.5)
