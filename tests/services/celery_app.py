"""The service as a Celery application, with a broker that is a folder.

The pipeline is made in the parent of the workers; with ``SERVICE_FIRST``, which numbers them, in each worker.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_process_init

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


if os.environ["SERVICE_FIRST"]:

    @worker_process_init.connect(weak=False)
    def make(**_: object) -> None:
        """Make the pipeline in a worker."""
        import service_app  # noqa: F401

else:
    import service_app  # noqa: F401


@app.task
def record(number: str) -> None:
    """Record one measurement."""
    import service_app

    service_app.record(number)
