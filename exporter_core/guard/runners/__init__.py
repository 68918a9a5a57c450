"""The runners: where a guarded exporter's code runs.

Each operation has a runner of its own: :mod:`.thread`, :mod:`.inline`, or, for ``async def``, :mod:`.loop`.
"""
