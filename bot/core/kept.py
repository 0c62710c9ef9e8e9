"""
Kept: what a pure function made of frozen values, for as long as it is asked about the same ones.

A position that nothing has changed is the same object at every decision. To compare it would cost
as much as what is spared; to ask whether it is that object costs nothing.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


def kept(most: int) -> Callable[[Callable[[*Ts], T]], Callable[[*Ts], T]]:
    """
    Decorates a pure function of positional, frozen arguments to be called once for the same ones.

    Up to `most` results are kept, with their arguments, so that no other object takes their place;
    then all of them are forgotten.
    """

    def decorate(function: Callable[[*Ts], T]) -> Callable[[*Ts], T]:
        results: dict[tuple[int, ...], tuple[object, T]] = {}

        @wraps(function)
        def ask(*args: *Ts) -> T:
            identity = tuple(map(id, args))
            known = results.get(identity)
            if known is not None:
                return known[1]
            if len(results) >= most:
                results.clear()
            result = function(*args)
            results[identity] = args, result
            return result

        return ask

    return decorate
