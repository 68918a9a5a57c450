"""Exporters as strangers write them, wrong and right, written from the public pages alone.

They measure the checker: how many wrong ones it catches, and if it accuses a right one. ``catalogue`` lists them,
``python -m third_party.score`` checks them all.
"""
