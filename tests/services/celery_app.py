"""The service as a Celery application, with a broker that is a folder."""

from __future__ import annotations

import os

import service_app
from celery import Celery

_folder = os.environ["SERVICE_BROKER"]
app = Celery("celery_app", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": _folder,
        "data_folder_out": _folder,
        "control_folder": f"{_folder}-control",
    },
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
)


@app.task
def record(number: str) -> None:
    """Record one measurement."""
    service_app.record(number)
