"""
Protective verbs, one file each: how much to do when a step of a policy's ladder fires.

A verb is a module with a docstring (its page in the manual), `SEVERITY`, `WORKS_ON` (the margin
modes it can help), `Params` and the pure function `propose(view, params)`. `Params` is a frozen
dataclass whose field types are units, or a union of such, one for each way to say how much, no
two of which share a field. A field `to` is the liquidation distance that the verb aims at.
"""
