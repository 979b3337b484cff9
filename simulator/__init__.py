"""A strict stand-in for Stripe's v1 API: a program of its own, driven over HTTP by any Stripe SDK.

    from simulator import Simulator, SimulatorSettings

    with Simulator(SimulatorSettings(state_dir=path, port=0)) as stripe:
        StripeClient("sk_test_x", base_addresses={"api": stripe.url})

It imports nothing of core, web and worker: its ledger is the independent witness of what happened.
"""

from simulator.program import Simulator
from simulator.settings import SettingsError, SimulatorSettings

__all__ = ["SettingsError", "Simulator", "SimulatorSettings"]
