"""Inferences joined with power and money: cost, energy, windows and the SLA, by the laws of the contract. Pure; no I/O, no clock."""

from infermeter.ledger.ledger import Ledger

__all__ = ["Ledger"]
