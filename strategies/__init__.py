"""
Protective verbs, one file each: how much to do when a step of a policy's ladder fires.

A verb is a module with a docstring (its page in the manual), `SEVERITY`, `Params` (a frozen
dataclass whose field types are units) and the pure function `propose(view, params)`.
"""
